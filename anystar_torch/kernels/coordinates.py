"""Kernel of the spatial effects: all steps from the voxels of a sample to a position in the scene, in one pass.

C++: ``csrc/coordinates.hpp``. Triton: ``triton/coordinates.py``. :func:`torch_evaluate` is the reference.
Positions differ by rounding, at most 1e-4 voxels in the tests.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float32, Int32
from torch import Tensor

from anystar_torch.kernels.implementations import implementation

AFFINE, REFLECT, BOX = 0, 1, 2
"""What follows the affine map of a step: nothing, a reflection at the two faces, or the faces of a recorded box."""
STEP_WIDTH = 18
"""Numbers of a step: a matrix (9), what is added before and after it (3 + 3), and half-widths (3)."""


class Evaluated(NamedTuple):
    """Each voxel's place in the scene.

    Attributes:
        position: ``[B, 3, D, H, W]``, (z, y, x), voxels.
        piece: ``[B, 1, D, H, W]``, number of the mirror image that a voxel lies in; 27 values for each reflection.
        cover: ``[B, 1, D, H, W]`` in [0, 1], share of a voxel inside of the recorded box.
        fraction: ``[B, 3, D, H, W]`` in [0, 1), place between the voxels of the recorded box.
    """

    position: Float32[Tensor, "b 3 d h w"]
    piece: Int32[Tensor, "b 1 d h w"]
    cover: Float32[Tensor, "b 1 d h w"]
    fraction: Float32[Tensor, "b 3 d h w"]


def evaluate(
    shape: tuple[int, int, int],
    displacement: Float32[Tensor, "b 3 d h w"] | None,
    parameters: Float32[Tensor, "b n"],
    limits: list[int],
) -> Evaluated:
    """Apply steps to the voxel centres of a sample, which are counted from its centre.

    A step is ``position -> limit(matrix (position + before) + after)``.

    Args:
        shape: (D, H, W).
        displacement: ``[B, 3, D, H, W]``, voxels, added before the first step; None for 0.
        parameters: ``[B, STEP_WIDTH * steps]``: matrix, before, after and half-widths of each step.
        limits: AFFINE, REFLECT or BOX of each step; at most one BOX.
    """
    if implementation(parameters.device) == "torch":
        return torch_evaluate(shape, displacement, parameters, limits)
    return Evaluated(*_evaluate(list(shape), displacement, parameters, limits))


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
    position, fraction = (parameters.new_empty(batch, 3, *shape) for _ in range(2))
    piece, cover = (
        parameters.new_empty(batch, 1, *shape, dtype=torch.int32),
        parameters.new_empty(batch, 1, *shape),
    )
    _native.evaluate_coordinates(
        parameters.new_empty(0, 3, *shape).numpy() if displacement is None else displacement.numpy(),
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


def torch_evaluate(
    shape: tuple[int, int, int],
    displacement: Float32[Tensor, "b 3 d h w"] | None,
    parameters: Float32[Tensor, "b n"],
    limits: list[int],
) -> Evaluated:
    """The reference of :func:`evaluate`.

    Arguments are those of :func:`evaluate`.
    """
    batch, device = len(parameters), parameters.device
    axes = [torch.arange(n, dtype=torch.float32, device=device) - (n - 1) / 2 for n in shape]
    position = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(batch, -1, -1, -1, -1)
    if displacement is not None:
        position = position + displacement
    piece = torch.zeros(batch, 1, *shape, dtype=torch.int32, device=device)
    cover, fraction = parameters.new_ones(batch, 1, *shape), torch.zeros_like(position)
    for number, limit in enumerate(limits):
        step = parameters[:, STEP_WIDTH * number : STEP_WIDTH * (number + 1), None, None, None]
        matrix, before, after, half = torch.split(step, [9, 3, 3, 3], dim=1)
        position = matrix_product(matrix[..., 0, 0, 0].view(-1, 3, 3), position + before) + after
        if limit == REFLECT:
            position, turned = _reflect(position, half)
            piece = piece * 27 + turned
        elif limit == BOX:
            # interpolates towards zeros beyond a face
            inside = (half + 1.0 - position.abs()).clamp_(0.0, 1.0)
            cover = inside[:, :1] * inside[:, 1:2] * inside[:, 2:]
            place = position + half
            fraction = place - place.floor()
            position = position.clamp(-half, half)
    return Evaluated(position.contiguous(), piece, cover, fraction)


def matrix_product(matrix: Float32[Tensor, "b 3 3"], position: Tensor) -> Tensor:
    """``matrix @ position``, written out: a batched matmul rounds differently at B = 1.

    Args:
        matrix: ``[B, 3, 3]``.
        position: ``[B, 3, ...]``.
    """
    coefficient = matrix[(...,) + (None,) * (position.dim() - 2)].unbind(1)
    z, y, x = position.unbind(1)
    return torch.stack([row[:, 0] * z + row[:, 1] * y + row[:, 2] * x for row in coefficient], dim=1)


def _reflect(position: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Positions reflected once at ``-half`` and ``half``, and the number of the mirror image that each was in."""
    turn = position / (2.0 * half)
    turn = (turn.abs() > 0.5).to(position.dtype).copysign(turn)  # a face belongs to the inside
    folded = (position - turn * (2.0 * half)) * (1.0 - 2.0 * turn.abs())
    number = turn[:, :1] * 9.0 + turn[:, 1:2] * 3.0 + turn[:, 2:] + 13.0
    return folded, number.to(torch.int32)
