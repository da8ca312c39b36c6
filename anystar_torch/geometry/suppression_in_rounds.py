"""Suppression of candidates that arrive a few at a time, while others are still to be found."""

import math
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float32, Int
from torch import Tensor

from anystar_torch.geometry.checks import check_polyhedra
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.native import native_array
from anystar_torch.kernels.suppression import Progress, advance, empty_suppression

if TYPE_CHECKING:
    from anystar_torch.kernels._native import Suppression

_MARGIN = 1.5  # later candidates are assumed to reach no further than so many times the farthest so far

_SURVIVES, _OPEN = 1, 2  # states in csrc/nms.hpp; 0: gone


class SuppressionInRounds:
    """:func:`~anystar_torch.geometry.suppression.nms` in rounds: the same survivors, and most of the work done early.

    A candidate is decided in a round when no candidate of an unfinished part of the volume can meet it and no better
    candidate that it conflicts with is undecided. How far later candidates reach is not known, so it is assumed:
    1.5 times the largest distance so far. Where one reaches further, the last round decides all candidates again. The
    result is therefore always that of one suppression of all candidates.

    Args:
        rays: directions and triangles of the polyhedra.
        nms_thresh: largest overlap (intersection over the smaller volume) that survives, in [0, 1].

    Raises:
        ValueError: ``nms_thresh`` outside of its range.

    Candidates come from one tile after the other::

        suppression = SuppressionInRounds(rays, 0.4)
        for tile in tiles:
            suppression.add(*candidates_of(tile))
            suppression.settle(boxes_of_the_tiles_to_come)
        keep = suppression.finish()
    """

    def __init__(self, rays: Rays, nms_thresh: float) -> None:
        self.rays = rays
        self.nms_thresh = float(nms_thresh)
        self._points = torch.empty(0, 3, dtype=torch.float32, device="cpu")
        self._distances = torch.empty(0, len(rays), dtype=torch.float32, device="cpu")
        self._scores = torch.empty(0, dtype=torch.float32, device="cpu")
        self._states = torch.empty(0, dtype=torch.uint8, device="cpu")
        self._reach = 0.0  # of all candidates so far
        self._assumed = math.inf  # least reach that a round relied on
        self._work = self._begun()

    def __len__(self) -> int:
        """Number of candidates so far."""
        return len(self._states)

    @property
    def undecided(self) -> int:
        """Number of candidates that no round has decided."""
        return int((self._states == _OPEN).sum())

    def add(
        self,
        points: Float32[Tensor, "n 3"],
        distances: Float32[Tensor, "n rays"],
        scores: Float32[Tensor, " n"],
    ) -> None:
        """Add candidates to the next round.

        Args:
            points: centres (z, y, x) in voxels, magnitude below 2^23.
            distances: lengths along the rays in voxels, positive and finite.
            scores: finite; higher is better.

        Raises:
            TypeError: for a wrong dtype.
            ValueError: for a wrong shape.
        """
        check_polyhedra(points, distances, self.rays)
        self._points = torch.cat([self._points, points.cpu()])
        self._distances = torch.cat([self._distances, distances.cpu()])
        self._scores = torch.cat([self._scores, scores.cpu()])
        self._states = torch.cat(
            [self._states, torch.full(scores.shape, _OPEN, dtype=torch.uint8, device="cpu")]
        )
        if len(distances):
            self._reach = max(self._reach, float(distances.max()))

    def settle(self, unfinished: Int[Tensor, "m 2 3"]) -> int:
        """Decide what later candidates cannot change.

        Args:
            unfinished: first and last voxel (z, y, x) of boxes in which the centres of all later candidates lie.

        Returns:
            Number of candidates that stay undecided.
        """
        reach = math.ceil(_MARGIN * self._reach) + 1  # + 1: a polyhedron's box is rounded to whole voxels
        self._assumed = min(self._assumed, reach - 1)
        grown = unfinished.to(torch.int32) + torch.tensor(
            [[-reach], [reach]], dtype=torch.int32, device="cpu"
        )
        self._round(grown, None)
        return self.undecided

    def finish(self, progress: Progress | None = None) -> Bool[Tensor, " n"]:
        """Decide all that is undecided.

        Args:
            progress: called as ``progress(done, total)`` between chunks of the work.

        Returns:
            True for candidates that stay, in the order in which they were added.
        """
        if self._reach > self._assumed:
            self._states.fill_(_OPEN)
            self._work = self._begun()
        self._round(None, progress)
        return self._states == _SURVIVES

    def _round(self, unfinished: Int[Tensor, "m 2 3"] | None, progress: Progress | None) -> None:
        places = (self._states == _OPEN).nonzero()[:, 0]
        points, distances, scores = (
            native_array(part[places]) for part in (self._points, self._distances, self._scores)
        )
        self._work.begin(points, distances, scores, None if unfinished is None else native_array(unfinished))
        self._states[places] = advance(self._work, len(places), progress)

    def _begun(self) -> "Suppression":
        """A suppression without candidates."""
        return empty_suppression(self.rays.vertices, self.rays.faces.long(), self.nms_thresh)
