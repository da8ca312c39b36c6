"""Where in the synthetic scene each voxel of a sample lies: the one map that all spatial effects compose.

AnyStar resamples its volume three times in a row (zoom, affine, elastic), and its labels with it. Here an effect is a
:class:`Step` from the finished sample back to the scene: an affine map, then a reflection or a box. The steps are small
per-sample matrices; all of them are evaluated at once, in one pass over the voxels, when positions are asked for. The
scene, which is a function of position, is evaluated there. Labels are never resampled.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.arrays import PerSample, PerSampleAxis
from anystar_torch.kernels.implementations import implementation

NEVER = 1e6
"""A half-width, in voxels, at which no volume is ever reflected."""
AFFINE, REFLECT, BOX = 0, 1, 2
"""What follows the affine map of a step: nothing, a reflection at the two faces, or the faces of a recorded box."""
WIDTH = 18
"""Numbers of a step: a matrix (9), what is added before and after it (3 + 3), and half-widths (3)."""


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


class Places(NamedTuple):
    """What :func:`evaluate` returns; see :class:`Coordinates`."""

    position: Float32[Tensor, "b 3 d h w"]
    piece: Int32[Tensor, "b 1 d h w"]
    cover: Float32[Tensor, "b 1 d h w"]
    fraction: Float32[Tensor, "b 3 d h w"]


@dataclass(frozen=True)
class Coordinates:
    """The voxels of finished samples, and the steps from them to some volume on the way back to the scene.

    Attributes:
        shape: (D, H, W) of the finished samples.
        size: ``[B, 3]``, the size of that volume in voxels.
        spread: ``[B]``, variance in squared voxels and per axis of the blur that the original's zoom gives an edge.
            The image, which is not interpolated here, gets it as a blur.
        steps: in the order in which they are applied.
        displacement: ``[B, 3, D, H, W]``, voxels, added before the first step; None for 0.
    """

    shape: tuple[int, int, int]
    size: PerSampleAxis
    spread: PerSample
    steps: tuple[Step, ...] = ()
    displacement: Float32[Tensor, "b 3 d h w"] | None = None
    _evaluated: list[Places] = field(default_factory=list, init=False, repr=False, compare=False)

    @classmethod
    def of_grid(cls, shape: Sequence[int], size: PerSampleAxis) -> "Coordinates":
        """A finished sample of ``shape`` in the centre of a recorded volume of ``size`` ``[B, 3]`` voxels."""
        depth, height, width = shape
        return cls((depth, height, width), size, torch.zeros_like(size[:, 0]))

    def then(self, step: Step) -> "Coordinates":
        """The same with one more step."""
        return replace(self, steps=(*self.steps, step))

    def reflected(self, half: PerSampleAxis) -> "Coordinates":
        """Positions outside ``-half .. half`` (``[B, 3]``, voxels) are reflected once at the faces."""
        return self.then(Step(identity(self.size), half=half, limit=REFLECT))

    @property
    def position(self) -> Float32[Tensor, "b 3 d h w"]:
        """``[B, 3, D, H, W]``, (z, y, x) in voxels from the centre of the volume."""
        return self._places.position

    @property
    def piece(self) -> Int32[Tensor, "b 1 d h w"]:
        """``[B, 1, D, H, W]``, the number of the mirror image a voxel lies in: 27 values a reflection."""
        return self._places.piece

    @property
    def cover(self) -> Float32[Tensor, "b 1 d h w"]:
        """``[B, 1, D, H, W]`` in [0, 1], how much of a voxel lies inside the recorded box.

        What is outside is zero in the finished image, and has no labels.
        """
        return self._places.cover

    @property
    def fraction(self) -> Float32[Tensor, "b 3 d h w"]:
        """``[B, 3, D, H, W]`` in [0, 1), where between the voxels of the recorded box a voxel lies."""
        return self._places.fraction

    @property
    def _places(self) -> Places:
        if not self._evaluated:
            self._evaluated.append(self._evaluate())
        return self._evaluated[0]

    def _evaluate(self) -> Places:
        return evaluate(
            self.shape, self.displacement, self._parameters(), [step.limit for step in self.steps]
        )

    def _parameters(self) -> Float32[Tensor, "b n"]:
        """The numbers of all steps, ``[B, WIDTH * steps]``."""
        zero = torch.zeros_like(self.size)
        parts = []
        for step in self.steps:
            parts.append(step.matrix.flatten(1))
            parts += [zero if part is None else part for part in (step.before, step.after, step.half)]
        return torch.cat(parts, dim=1) if parts else zero[:, :0]


def identity(like: PerSampleAxis) -> Float32[Tensor, "b 3 3"]:
    """The matrix that changes nothing, for every sample."""
    return torch.eye(3, device=like.device).expand(len(like), -1, -1)


def matrix_product(matrix: Float32[Tensor, "b 3 3"], position: Tensor) -> Tensor:
    """``matrix @ position`` for ``[B, 3, ...]``, written out: a batched matmul rounds differently at B = 1."""
    coefficient = matrix[(...,) + (None,) * (position.dim() - 2)].unbind(1)
    z, y, x = position.unbind(1)
    return torch.stack([row[:, 0] * z + row[:, 1] * y + row[:, 2] * x for row in coefficient], dim=1)


def evaluate(
    shape: tuple[int, int, int],
    displacement: Float32[Tensor, "b 3 d h w"] | None,
    parameters: Float32[Tensor, "b n"],
    limits: list[int],
) -> Places:
    """Apply steps to the voxel centres of a sample, which are counted from its centre.

    Args:
        shape: (D, H, W).
        displacement: ``[B, 3, D, H, W]``, voxels; None for 0.
        parameters: ``[B, WIDTH * steps]``, see :class:`Step`.
        limits: AFFINE, REFLECT or BOX of each step; at most one BOX.
    """
    if implementation(parameters.device) == "torch":
        return torch_evaluate(shape, displacement, parameters, limits)
    return Places(*_evaluate(list(shape), displacement, parameters, limits))


def torch_evaluate(
    shape: tuple[int, int, int],
    displacement: Float32[Tensor, "b 3 d h w"] | None,
    parameters: Float32[Tensor, "b n"],
    limits: list[int],
) -> Places:
    """The plain torch implementation of :func:`evaluate`."""
    batch, device = len(parameters), parameters.device
    axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in shape]
    position = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(batch, -1, -1, -1, -1)
    if displacement is not None:
        position = position + displacement
    piece = torch.zeros(batch, 1, *shape, dtype=torch.int32, device=device)
    cover, fraction = torch.ones(batch, 1, *shape, device=device), torch.zeros_like(position)
    for number, limit in enumerate(limits):
        step = parameters[:, WIDTH * number : WIDTH * (number + 1), None, None, None]
        matrix, before, after, half = torch.split(step, [9, 3, 3, 3], dim=1)
        position = matrix_product(matrix[..., 0, 0, 0].view(-1, 3, 3), position + before) + after
        if limit == REFLECT:
            position, turned = _reflect(position, half)
            piece = piece * 27 + turned
        elif limit == BOX:
            inside = (half + 1.0 - position.abs()).clamp_(
                0.0, 1.0
            )  # interpolation towards zeros beyond a face
            cover = inside[:, :1] * inside[:, 1:2] * inside[:, 2:]
            place = position + half
            fraction = place - place.floor()
            position = position.clamp(-half, half)
    return Places(position.contiguous(), piece, cover, fraction)


def _reflect(position: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Positions reflected once at ``-half`` and ``half``, and which of the 27 mirror images each was in."""
    turn = position / (2.0 * half)
    turn = (turn.abs() > 0.5).to(position.dtype).copysign(turn)  # a face belongs to the inside
    folded = (position - turn * (2.0 * half)) * (1.0 - 2.0 * turn.abs())
    number = turn[:, :1] * 9.0 + turn[:, 1:2] * 3.0 + turn[:, 2:] + 13.0
    return folded, number.to(torch.int32)


@torch.library.custom_op("anystar::evaluate_coordinates", mutates_args=())
def _evaluate(
    shape: list[int], displacement: Tensor | None, parameters: Tensor, limits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    displacement = None if displacement is None else displacement.contiguous()
    if implementation(parameters.device) == "triton":
        from anystar_torch.kernels.triton import coordinates as kernels

        return kernels.evaluate(shape, displacement, parameters.contiguous(), limits)
    from anystar_torch.kernels import _native

    batch = len(parameters)
    position, fraction = torch.empty(batch, 3, *shape), torch.empty(batch, 3, *shape)
    piece, cover = torch.empty(batch, 1, *shape, dtype=torch.int32), torch.empty(batch, 1, *shape)
    _native.evaluate_coordinates(
        torch.empty(0, 3, *shape).numpy() if displacement is None else displacement.numpy(),
        parameters.contiguous().numpy(),
        bytes(limits),
        position.numpy(),
        piece.squeeze(1).numpy(),
        cover.squeeze(1).numpy(),
        fraction.numpy(),
        torch.get_num_threads(),
    )
    return position, piece, cover, fraction


@_evaluate.register_fake
def _(
    shape: list[int], displacement: Tensor | None, parameters: Tensor, limits: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    batch = parameters.shape[0]
    position, cover = parameters.new_empty(batch, 3, *shape), parameters.new_empty(batch, 1, *shape)
    return position, torch.empty_like(cover, dtype=torch.int32), cover, torch.empty_like(position)
