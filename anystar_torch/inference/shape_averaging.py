"""Shape averaging: the shape of an object is the mean over the candidates around its centre.

Every grid point of an object predicts the whole object. The suppression keeps the one with the highest score. That
score means that the point lies deep inside the object, not that its distances are the best. The mean over the points
nearby reduces the noise in the distances. StarDist and AnyStar take the shape of the best candidate.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer
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
    for part, owner, member in neighbours(candidates.points, distances, survivors, chunk):
        centre = candidates.points[survivors[part]][owner]
        ray, length = corners(candidates.points[member] - centre, distances[member], directions)
        out[part] = weighted_means(owner, ray, length, candidates.scores[member])
    return out


def corners(
    offset: Float32[np.ndarray, "m 3"],
    distances: Float32[np.ndarray, "m r"],
    directions: Float32[np.ndarray, "r 3"],
) -> tuple[Int64[np.ndarray, "m r"], Float32[np.ndarray, "m r"]]:
    """The corners of candidates, seen from the centre of the object that they belong to.

    Args:
        offset: points of the candidates, relative to that centre.
        distances: their distances.
        directions: unit directions of the rays.

    Returns:
        The ray to which each corner is closest, and its distance from the centre.
    """
    corner = offset[:, None] + distances[:, :, None] * directions
    return (corner @ directions.T).argmax(2), np.linalg.norm(corner, axis=2)


def weighted_means(
    owner: Int64[np.ndarray, " m"],
    ray: Integer[np.ndarray, "m r"],
    length: Float32[np.ndarray, "m r"],
    scores: Float32[np.ndarray, " m"],
) -> Float32[np.ndarray, "k r"]:
    """Mean distance of the corners along each ray of each object.

    Args:
        owner: object of each candidate, ascending from 0 without gaps.
        ray: rays of the corners.
        length: distances of the corners.
        scores: weights of the candidates.
    """
    rays = ray.shape[1]
    place = (owner[:, None] * rays + ray).reshape(-1)
    weight = np.repeat(scores, rays)
    size = (int(owner[-1]) + 1) * rays
    total = np.bincount(place, weight * length.reshape(-1), size)
    means: Float32[np.ndarray, "k r"] = (total / np.bincount(place, weight, size)).astype(np.float32)
    return means.reshape(-1, rays)


def neighbours(
    points: Float32[np.ndarray, "n 3"],
    distances: Float32[np.ndarray, "n r"],
    survivors: Int64[np.ndarray, " k"],
    chunk: int,
) -> Iterator[tuple[slice, Int64[np.ndarray, " m"], Int64[np.ndarray, " m"]]]:
    """Pairs of a survivor and a candidate near it, for some survivors at a time.

    Args:
        points: centres of all candidates, best first.
        distances: their distances.
        survivors: indices of the survivors.
        chunk: number of survivors at a time.

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
        for members, survivor in zip(best, survivors[part], strict=True):
            members[-1] = max(
                members[-1], survivor
            )  # where many are better, the survivor itself is the last one
        yield part, np.repeat(np.arange(len(best)), [len(members) for members in best]), np.concatenate(best)
