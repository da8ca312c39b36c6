"""Orientation: mirrored axes and quarter turns."""

from dataclasses import dataclass, replace
from itertools import permutations

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.generator.parameters import check_chance
from anystar_torch.generator.spatial.coordinates import Coordinates, Step
from anystar_torch.random.source import Source

ORDERS = tuple(permutations(range(3)))
"""The six orders of the axes."""


def orient(coordinates: Coordinates, order: Float32[Tensor, "b 6"], sign: PerSampleAxis) -> Coordinates:
    """Permuted and mirrored axes.

    Args:
        coordinates: positions in the turned volume.
        order: ``[B, 6]``, 1 for the member of ``ORDERS`` to use and 0 elsewhere.
        sign: ``[B, 3]``, -1 where an axis is mirrored (after the permutation), else 1.
    """
    permutation = _matrix(order)
    size = (permutation * coordinates.size[:, None]).sum(2)  # of two zeros and one size: exact
    return replace(coordinates, size=size).then(Step(permutation * sign[:, :, None]))


def _matrix(order: Float32[Tensor, "b 6"]) -> Float32[Tensor, "b 3 3"]:
    """The permutation matrices: every entry is 1 for the two members of ``ORDERS`` that have it."""
    column = order.unbind(1)
    pairs = [[i for i, o in enumerate(ORDERS) if o[to] == axis] for to in range(3) for axis in range(3)]
    return torch.stack([column[i] + column[j] for i, j in pairs], dim=1).view(-1, 3, 3)


@dataclass(frozen=True, kw_only=True)
class RandomOrientation:
    """One of the 48 symmetries of the cube, each as likely as the others.

    Deliberate difference: AnyStar flips exactly one axis and always turns in one plane, then symmetrises at training
    time. Axes of different length are not exchanged.

    Attributes:
        flip: chance to mirror each axis.
        turn: chance to permute the axes.
    """

    flip: float
    turn: float

    def __post_init__(self) -> None:
        check_chance("flip", self.flip)
        check_chance("turn", self.turn)

    def __call__(self, coordinates: Coordinates, source: Source) -> Coordinates:
        """Draw a symmetry per sample."""
        shape = coordinates.shape
        allowed = [i for i, o in enumerate(ORDERS) if all(shape[a] == shape[b] for a, b in enumerate(o))]
        drawn = source.integers("order", 0, len(allowed))
        drawn = torch.where(source.coin("turn", self.turn), drawn, 0)
        chosen = (drawn[:, None] == torch.arange(len(allowed), device=drawn.device)).to(torch.float32)
        if len(allowed) < len(ORDERS):
            column, none = chosen.unbind(1), torch.zeros_like(chosen[:, 0])
            columns = [column[allowed.index(i)] if i in allowed else none for i in range(len(ORDERS))]
            chosen = torch.stack(columns, dim=1)
        flipped = source.uniform("flip", 0.0, 1.0, 3) < self.flip
        return orient(coordinates, chosen, torch.where(flipped, -1.0, 1.0).to(torch.float32))
