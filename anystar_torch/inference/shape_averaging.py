"""Shape averaging: the shape of an object is the mean over the candidates around its centre.

Every grid point of an object predicts the whole object. The suppression keeps the one with the highest score. That
score means that the point lies deep inside the object, not that its distances are the best. The mean over the points
nearby reduces the noise in the distances. StarDist and AnyStar take the shape of the best candidate.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int64
from scipy.spatial import cKDTree

from anystar_torch.inference.candidates import Candidates

NEAR = 0.5
"""Candidates up to this distance from the centre take part, in mean radii of the object."""
MAX_CANDIDATES = 32
"""Candidates that take part, at most: the best ones. More have no measurable effect."""
_CHUNK = 32  # objects that are averaged together: with 96 rays 38 MB


def average_shapes(
    candidates: Candidates, kept: Bool[np.ndarray, " n"], chunk: int = _CHUNK
) -> Float32[np.ndarray, "k r"]:
    """Mean distances of the survivors in network voxels, in the order of the candidates.

    Each candidate near the centre of a survivor contributes its corners, which are the ends of its rays. Seen from that
    centre, a corner has a direction and a distance. The mean distance along a ray is taken over the corners that are
    closer to it than to any other ray, weighted by the scores of their candidates. The survivor's own corner is always
    one of them.

    Args:
        candidates: all candidates of a volume, best first.
        kept: which of them survive suppression; k of n.
        chunk: number of objects that are averaged together.
    """
    directions = candidates.rays.vertices.cpu().numpy()
    distances = candidates.distances.astype(np.float32)
    survivors = np.flatnonzero(kept)
    out = np.empty((len(survivors), len(directions)), np.float32)
    for part, owner, member in _neighbours(candidates.points, distances, survivors, chunk):
        centre = candidates.points[survivors[part]]
        offset = (candidates.points[member] - centre[owner])[:, None]
        corner = offset + distances[member][:, :, None] * directions
        ray = (corner @ directions.T).argmax(2)
        place = (owner[:, None] * len(directions) + ray).reshape(-1)
        weight = np.repeat(candidates.scores[member], len(directions))
        size = len(centre) * len(directions)
        total = np.bincount(place, weight * np.linalg.norm(corner, axis=2).reshape(-1), size)
        out[part] = (total / np.bincount(place, weight, size)).reshape(len(centre), -1)
    return out


def _neighbours(
    points: Float32[np.ndarray, "n 3"],
    distances: Float32[np.ndarray, "n r"],
    survivors: Int64[np.ndarray, " k"],
    chunk: int,
) -> Iterator[tuple[slice, Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]]:
    """Pairs of a survivor and a candidate near it, for some survivors at a time.

    Yields:
        The slice of survivors; for each pair, the index of the survivor in this slice, and that of the candidate.
    """
    if not len(survivors):
        return
    tree = cKDTree(points)
    reach = NEAR * distances[survivors].mean(1)
    for start in range(0, len(survivors), chunk):
        part = slice(start, min(start + chunk, len(survivors)))
        near = tree.query_ball_point(points[survivors[part]], reach[part], return_sorted=True)
        best = [np.asarray(members[:MAX_CANDIDATES]) for members in near]  # candidates are sorted, best first
        yield part, np.repeat(np.arange(len(best)), [len(members) for members in best]), np.concatenate(best)
