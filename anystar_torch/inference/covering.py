"""Suppression at one threshold after another: most candidates go at once, because of a better one that covers them.

Nearly all candidates of an object overlap with its best one by far more than any useful threshold. These overlaps do
not depend on the threshold and are computed once. A candidate then goes without any comparison if the better one that
covers it survives, and if their overlap is above the threshold.

The survivors are those of a suppression of all candidates. Greedy suppression goes from the best to the worst. A
candidate that is covered by a better survivor goes there too, and a candidate that goes changes nothing for others.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from scipy.spatial import cKDTree

from anystar_torch.geometry.overlaps import shared_voxels
from anystar_torch.inference.candidates import Candidates, suppress
from anystar_torch.system.progress import Tick, silent

_NEAREST = 3  # survivors that are tried, nearest first, until one is better than the candidate


@dataclass(frozen=True)
class Covering:
    """For each candidate a better one that covers a part of it.

    Attributes:
        better: index of the better candidate; -1 where none is known.
        shared: number of voxels inside both.
        smaller: the smaller of their volumes.
    """

    better: Int64[np.ndarray, " n"]
    shared: Int64[np.ndarray, " n"]
    smaller: Float64[np.ndarray, " n"]

    @classmethod
    def of(cls, candidates: Candidates, kept: Bool[np.ndarray, " n"]) -> "Covering":
        """Compare every candidate that a suppression removed with the nearest better survivor.

        Args:
            candidates: all candidates, best first.
            kept: which of them survive at some threshold.
        """
        count = len(candidates.scores)
        better = np.full(count, -1, np.int64)
        shared, smaller = np.zeros(count, np.int64), np.ones(count)
        survivors, gone = np.flatnonzero(kept), np.flatnonzero(~kept)
        if len(survivors) and len(gone):
            nearest = min(_NEAREST, len(survivors))
            found = cKDTree(candidates.points[survivors]).query(
                candidates.points[gone], range(1, nearest + 1)
            )[1]
            near = survivors[found]
            is_better = (
                candidates.scores[near] > candidates.scores[gone, None]
            )  # equal scores have an order too
            first = is_better.argmax(1)
            better[gone] = np.where(is_better.any(1), near[np.arange(len(gone)), first], -1)
        rows = np.flatnonzero(better >= 0)
        rows = rows[np.argsort(better[rows], kind="stable")]
        if len(rows):
            shared[rows], smaller[rows] = (
                column.numpy()
                for column in shared_voxels(
                    torch.from_numpy(candidates.points),
                    torch.from_numpy(candidates.distances.astype(np.float32)),
                    candidates.rays,
                    torch.from_numpy(np.stack([better[rows], rows], 1)),
                )
            )
        return cls(better, shared, smaller)

    def survivors(
        self, candidates: Candidates, nms_thresh: float, tick: Tick = silent
    ) -> Bool[np.ndarray, " n"]:
        """Which candidates survive: the result of :func:`~anystar_torch.inference.candidates.suppress`.

        Args:
            candidates: the candidates, or the best ones of them.
            nms_thresh: overlap above which the worse of two candidates is removed.
            tick: receives the amount of work that is done, and that of all work.
        """
        count = len(candidates.scores)
        better = self.better[:count]
        covered = (better >= 0) & (self.shared[:count] > nms_thresh * self.smaller[:count])
        while True:
            rows = np.flatnonzero(~covered)
            kept = np.zeros(count, bool)
            kept[rows] = suppress(candidates.at(rows), nms_thresh, tick)
            wrong = covered & ~kept[better]
            if not wrong.any():
                return kept
            covered &= ~wrong
