"""Position in the scene of each voxel of a sample: one map that all spatial effects compose.

AnyStar resamples its volume three times in a row (zoom, affine, elastic), and its labels with it. Here an effect is a
:class:`Step` from the finished sample back to the scene: an affine map, then a reflection or a box. The steps are small
per-sample matrices; all of them are evaluated at once, in one pass over the voxels, when positions are asked for. The
scene, which is a function of position, is evaluated there. Labels are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis
from anystar_torch.kernels.coordinates import AFFINE, REFLECT, Evaluated, evaluate

NEVER = 1e6
"""A half-width, in voxels, that no position reaches: no reflection."""


@dataclass(frozen=True)
class Step:
    """``position -> limit(matrix (position + before) + after)``.

    Attributes:
        matrix: ``[B, 3, 3]``.
        before: ``[B, 3]``, voxels; None for 0.
        after: ``[B, 3]``, voxels; None for 0.
        half: ``[B, 3]``, half the extent of the volume between the outermost voxel centres; None without a limit.
        limit: AFFINE, REFLECT or BOX.
    """

    matrix: Float32[Tensor, "b 3 3"]
    before: PerSampleAxis | None = None
    after: PerSampleAxis | None = None
    half: PerSampleAxis | None = None
    limit: int = AFFINE


@dataclass(frozen=True)
class Coordinates:
    """The voxels of finished samples, and the steps from them to a volume on the way back to the scene.

    Attributes:
        shape: (D, H, W) of the finished samples.
        size: ``[B, 3]``, the size of that volume in voxels.
        spread: ``[B]``, variance by which AnyStar's zoom widens an edge along an axis, squared voxels. The image is not
            interpolated here and is filtered instead, with three taps; a zoom of more than 2 counts as 2.
        steps: in the order in which they are applied.
        displacement: ``[B, 3, D, H, W]``, voxels, added before the first step; None for 0.
    """

    shape: tuple[int, int, int]
    size: PerSampleAxis
    spread: PerSample
    steps: tuple[Step, ...] = ()
    displacement: Float32[Tensor, "b 3 d h w"] | None = None
    _evaluated: list[Evaluated] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of_grid(cls, shape: Sequence[int], size: PerSampleAxis) -> "Coordinates":
        """A finished sample of ``shape`` in the centre of a recorded volume of ``size`` ``[B, 3]`` voxels.

        Args:
            shape: (D, H, W) of the finished sample.
            size: ``[B, 3]``, size of the recorded volume, voxels.
        """
        depth, height, width = shape
        return cls((depth, height, width), size, torch.zeros_like(size[:, 0]))

    def then(self, step: Step) -> "Coordinates":
        """The same with one more step.

        Args:
            step: applied after all others.
        """
        return replace(self, steps=(*self.steps, step))

    def reflected(self, half: PerSampleAxis) -> "Coordinates":
        """Positions outside ``-half .. half`` (``[B, 3]``, voxels) are reflected once at the faces.

        Args:
            half: ``[B, 3]``, distance of the faces from the centre, voxels.
        """
        return self.then(Step(identity(self.size), half=half, limit=REFLECT))

    @property
    def position(self) -> Float32[Tensor, "b 3 d h w"]:
        """``[B, 3, D, H, W]``, (z, y, x) in voxels from the centre of the volume."""
        return self._places.position

    @property
    def piece(self) -> Int32[Tensor, "b 1 d h w"]:
        """``[B, 1, D, H, W]``, number of the mirror image that holds a voxel: 27 values per reflection."""
        return self._places.piece

    @property
    def cover(self) -> Float32[Tensor, "b 1 d h w"]:
        """``[B, 1, D, H, W]`` in [0, 1], share of a voxel inside of the recorded box.

        Voxels outside of it are 0 in the finished image and have no labels.
        """
        return self._places.cover

    @property
    def fraction(self) -> Float32[Tensor, "b 3 d h w"]:
        """``[B, 3, D, H, W]`` in [0, 1), position of a voxel between the voxels of the recorded box."""
        return self._places.fraction

    @property
    def _places(self) -> Evaluated:
        if not self._evaluated:
            self._evaluated.append(self._evaluate())
        return self._evaluated[0]

    def _evaluate(self) -> Evaluated:
        return evaluate(
            self.shape, self.displacement, self._parameters(), [step.limit for step in self.steps]
        )

    def _parameters(self) -> Float32[Tensor, "b n"]:
        """The numbers of all steps, ``[B, STEP_WIDTH * steps]``."""
        zero = torch.zeros_like(self.size)
        parts = []
        for step in self.steps:
            parts.append(step.matrix.flatten(1))
            parts += [zero if part is None else part for part in (step.before, step.after, step.half)]
        return torch.cat(parts, dim=1) if parts else zero[:, :0]


def identity(like: PerSampleAxis) -> Float32[Tensor, "b 3 3"]:
    """The identity matrix for every sample of ``like``, ``[B, 3, 3]``.

    Args:
        like: ``[B, 3]``, any values on the same device.
    """
    return torch.eye(3, dtype=like.dtype, device=like.device).expand(len(like), -1, -1)
