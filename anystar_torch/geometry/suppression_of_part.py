"""Suppression of a part of the candidates, while what happens to others that they meet is not yet known."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float32, UInt8
from torch import Tensor

from anystar_torch.geometry.checks import check_polyhedra
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.native import native_array
from anystar_torch.kernels.suppression import advance, empty_suppression

GONE, SURVIVES, OPEN = 0, 1, 2
"""States of a candidate, as in ``csrc/nms.hpp``."""


class Polyhedra(NamedTuple):
    """Candidates of a suppression.

    Attributes:
        points: centres (z, y, x) in voxels, magnitude below 2^23.
        distances: lengths along the rays in voxels, positive and finite.
        scores: finite; higher is better.
    """

    points: Float32[Tensor, "n 3"]
    distances: Float32[Tensor, "n rays"]
    scores: Float32[Tensor, " n"]


def suppress_part(
    survivors: Polyhedra,
    candidates: Polyhedra,
    held: Bool[Tensor, " n"],
    rays: Rays,
    nms_thresh: float,
    cache_bytes: int = 1 << 30,
    own: int | None = None,
) -> UInt8[Tensor, " n"]:
    """Decide the candidates of a part whose fate follows from what is known.

    The decisions are those of :func:`~anystar_torch.geometry.suppression.nms` applied to all candidates of all parts,
    if the arguments hold every survivor and every undecided candidate that the part's own candidates meet. A candidate
    stays open if it conflicts with a better one that is held or open. Rounds over all parts, with the states of the
    round before, decide every candidate: in each round at least the best one that is undecided.

    Args:
        survivors: candidates that are known to survive.
        candidates: undecided candidates, of the part itself and of others.
        held: which of them belong to other parts. They stay open, unless a survivor suppresses them.
        rays: directions and triangles of the polyhedra.
        nms_thresh: largest overlap (intersection over the smaller volume) that survives, in [0, 1].
        cache_bytes: memory for voxels of polyhedra; those of others are computed again when they are needed.
        own: number of candidates, the first ones, whose states the caller needs; None for all. Held ones after them
            that cannot overlap too much with a worse candidate of the part are not tested.

    Returns:
        :data:`GONE`, :data:`SURVIVES` or :data:`OPEN` for each of ``candidates``. :data:`OPEN` for those not tested.

    Raises:
        TypeError: for a wrong dtype.
        ValueError: for a wrong shape or value.
    """
    work = empty_suppression(rays.vertices, rays.faces.long(), float(nms_thresh), cache_bytes)
    for part in (survivors, candidates):
        check_polyhedra(part.points, part.distances, rays)
    points, distances, scores = map(native_array, survivors)
    work.begin(points, distances, scores, None)
    advance(work, len(scores), None)
    points, distances, scores = map(native_array, candidates)
    holds = held.to(torch.uint8)
    if own is not None:
        holds[own:] *= 2  # csrc/nms.hpp: the state is not needed
    work.begin(points, distances, scores, None, native_array(holds))
    return advance(work, len(scores), None)
