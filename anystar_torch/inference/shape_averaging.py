"""The shape of an object: the mean of what the candidates around its centre say of it.

Every grid point of an object predicts the whole object. Suppression keeps the one with the highest score and throws the
others away, StarDist does too; but the highest score says that a point lies deep inside, not that its distances are the
best. Averaging over the points nearby takes out what is noise in each of them.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from anystar_torch.inference.candidates import Candidates

NEAR = 0.5
"""How far from an object's centre candidates take part, in mean radii of the object: at the middle of its depth."""
MOST = 32
"""Candidates that take part, the best of them; more change nothing that can be measured."""
_TOGETHER = 32  # objects: with 96 rays 38 MB


def consensus(candidates: Candidates, kept: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distances of the survivors, ``[K, R]`` in network voxels, in the order of the candidates.

    Each candidate near a survivor's centre contributes its corners, the ends of its rays: seen from that centre, a
    corner has a direction and a distance. The new distance along a ray is the mean over the corners that lie closer to
    it than to any other ray, weighted by their candidates' scores; the survivor's own corner is always one of them.

    No counterpart in StarDist or AnyStar.

    Args:
        candidates: of one volume, best first.
        kept: ``[N]``, those that survive suppression.
    """
    directions = candidates.rays.vertices.cpu().numpy()
    distances = candidates.distances.astype(np.float32)
    survivors = np.flatnonzero(kept)
    out = np.empty((len(survivors), len(directions)), np.float32)
    for part, owner, member in _neighbours(candidates.points, distances, survivors):
        centre = candidates.points[survivors[part]]
        corner = (candidates.points[member] - centre[owner])[:, None] + distances[member][
            :, :, None
        ] * directions
        ray = (corner @ directions.T).argmax(2)
        place = (owner[:, None] * len(directions) + ray).reshape(-1)
        weight = np.repeat(candidates.scores[member], len(directions))
        size = len(centre) * len(directions)
        total = np.bincount(place, weight * np.linalg.norm(corner, axis=2).reshape(-1), size)
        out[part] = (total / np.bincount(place, weight, size)).reshape(len(centre), -1)
    return out


def _neighbours(
    points: NDArray[np.float32], distances: NDArray[np.float32], survivors: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of survivor and candidate near it, some survivors at a time.

    Yields:
        which survivors; for each pair the survivor, counted within them, and the candidate.
    """
    if not len(survivors):
        return
    tree = cKDTree(points)
    reach = NEAR * distances[survivors].mean(1)
    for start in range(0, len(survivors), _TOGETHER):
        part = slice(start, min(start + _TOGETHER, len(survivors)))
        near = tree.query_ball_point(points[survivors[part]], reach[part], return_sorted=True)
        best = [np.asarray(members[:MOST]) for members in near]  # candidates stand best first
        yield part, np.repeat(np.arange(len(best)), [len(members) for members in best]), np.concatenate(best)
