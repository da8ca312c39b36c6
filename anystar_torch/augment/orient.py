"""Flips and quarter turns: which way round the volume is looked at."""

from dataclasses import dataclass, replace
from itertools import permutations

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import PerSampleAxis
from anystar_torch.augment.coordinates import Coordinates
from anystar_torch.augment.ranges import check_chance
from anystar_torch.random import Source

ORDERS = tuple(permutations(range(3)))
"""The six orders of the axes."""


def orient(coordinates: Coordinates, order: Float32[Tensor, "b 6"], sign: PerSampleAxis) -> Coordinates:
    """Look along permuted and mirrored axes.

    Args:
        coordinates: looks into the turned volume.
        order: ``[B, 6]``, 1 for the member of ``ORDERS`` to use and 0 elsewhere.
        sign: ``[B, 3]``, -1 where an axis is mirrored (after the permutation), else 1.
    """
    position = _permuted(coordinates.position, order) * sign[:, :, None, None, None]
    return replace(coordinates, position=position, size=_permuted(coordinates.size, order))


def _permuted(axes: Tensor, order: Float32[Tensor, "b 6"]) -> Tensor:
    """Weights 0 and 1 on the axes are exact, and need no index that differs from sample to sample."""
    share = order[(...,) + (None,) * (axes.dim() - 2)]
    out = []
    for target in range(3):
        weight = [sum(share[:, i] for i, o in enumerate(ORDERS) if o[target] == axis) for axis in range(3)]
        out.append(axes[:, 0] * weight[0] + axes[:, 1] * weight[1] + axes[:, 2] * weight[2])
    return torch.stack(out, dim=1)


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
        shape = coordinates.position.shape[2:]
        allowed = [i for i, o in enumerate(ORDERS) if all(shape[a] == shape[b] for a, b in enumerate(o))]
        drawn = source.integers("order", 0, len(allowed))
        drawn = torch.where(source.coin("turn", self.turn), drawn, 0)
        columns = [
            drawn == allowed.index(i) if i in allowed else torch.zeros_like(drawn, dtype=torch.bool)
            for i in range(len(ORDERS))
        ]
        flipped = source.uniform("flip", 0.0, 1.0, 3) < self.flip
        return orient(
            coordinates, torch.stack(columns, dim=1).to(torch.float32), torch.where(flipped, -1.0, 1.0)
        )
