"""Averaged shapes against the spheres that were predicted."""

from dataclasses import replace

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.shape_averaging import average_shapes
from anystar_torch.inference.stages import find_instances

RAYS = Rays.golden_spiral(96)
RADIUS = 9.0


def crowd(centres: list[tuple[float, float, float]], noise: float) -> Candidates:
    """What a network says of spheres: every second voxel inside predicts the whole sphere, with an error of its own."""
    random = np.random.default_rng(0)
    shape = (40, 40, 40 * len(centres))
    points, distances, scores = [], [], []
    directions = RAYS.vertices.numpy()
    for centre in np.asarray(centres):
        grid = np.argwhere(np.ones((20, 20, 20))) * 2.0 + (0, 0, centre[2] - 20)
        away = np.linalg.norm(grid - centre, axis=1)
        inside, away = grid[away < 0.8 * RADIUS], away[away < 0.8 * RADIUS]
        along = (inside - centre) @ directions.T
        exact = -along + np.sqrt(along**2 - (away**2)[:, None] + RADIUS**2)
        points.append(inside)
        distances.append(exact * (1 + noise * random.standard_normal(exact.shape)))
        scores.append(1 - away / RADIUS)
    order = np.argsort(-np.concatenate(scores), kind="stable")
    return Candidates(
        points=np.concatenate(points)[order].astype(np.float32),
        distances=np.concatenate(distances)[order].astype(np.float16),
        scores=np.concatenate(scores)[order].astype(np.float32),
        rays=RAYS,
        scaling=Scaling.of(shape, (1.0, 1.0, 1.0), 18.0, 18.0, RAYS),
        diameter=18.0,
        prob_thresh=0.1,
    )


def errors(candidates: Candidates, centres: list[tuple[float, float, float]], averaging: bool) -> np.ndarray:
    """Relative errors of the corners of all objects: how far they are from the spheres."""
    found = find_instances(candidates, 0.3, shape_averaging=averaging)
    assert len(found) == len(centres)
    corners = found.points[:, None] + found.distances[:, :, None] * found.rays.vertices.numpy()
    off = np.linalg.norm(corners[:, :, None] - np.asarray(centres), axis=3).min(2)
    return off / RADIUS - 1


ONE, TWO = [(20.4, 19.7, 20.2)], [(20.4, 19.7, 20.2), (19.5, 20.3, 60.1)]


@pytest.mark.parametrize("centres", [ONE, TWO])
def test_what_agrees_is_kept(centres: list[tuple[float, float, float]]) -> None:
    assert abs(errors(crowd(centres, 0.0), centres, averaging=False)).max() < 0.002
    assert abs(errors(crowd(centres, 0.0), centres, averaging=True)).max() < 0.04


def test_noise_is_averaged_out() -> None:
    noisy = crowd(TWO, 0.15)
    alone, together = errors(noisy, TWO, averaging=False), errors(noisy, TWO, averaging=True)
    assert alone.std() == pytest.approx(0.15, rel=0.2)
    assert together.std() < 0.3 * alone.std()
    assert abs(together.mean()) < 0.02


def test_one_alone_keeps_its_shape() -> None:
    lonely = replace(crowd(ONE, 0.15), prob_thresh=0.1).first(1)
    np.testing.assert_allclose(average_shapes(lonely, np.ones(1, bool)), lonely.distances, rtol=1e-3)


def test_any_number_at_a_time_is_the_same() -> None:
    noisy = crowd(TWO, 0.1)
    kept = np.zeros(len(noisy.scores), bool)
    kept[::3] = True
    whole = average_shapes(noisy, kept)
    assert whole.shape == (kept.sum(), 96)
    np.testing.assert_allclose(average_shapes(noisy, kept, chunk=7), whole, rtol=1e-6)


def test_none_kept_is_none() -> None:
    assert average_shapes(crowd(ONE, 0.1).first(0), np.zeros(0, bool)).shape == (0, 96)


def averaged_by_hand(candidates: Candidates, survivor: int) -> np.ndarray:
    """The definition in loops: of candidates within half a radius, the best 32, with the survivor among them."""
    points, directions = candidates.points.astype(float), RAYS.vertices.numpy().astype(float)
    distances = candidates.distances.astype(float)
    near = np.linalg.norm(points - points[survivor], axis=1) <= 0.5 * distances[survivor].mean()
    members = np.flatnonzero(near)[:32]
    if survivor not in members:
        members[-1] = survivor
    total, weight = np.zeros(len(directions)), np.zeros(len(directions))
    for member in members:
        for direction, distance in zip(directions, distances[member], strict=True):
            corner = points[member] - points[survivor] + distance * direction
            length = np.linalg.norm(corner)
            ray = np.arccos(np.clip(directions @ corner / length, -1, 1)).argmin()
            total[ray] += candidates.scores[member] * length
            weight[ray] += candidates.scores[member]
    return total / weight


def test_the_mean_is_that_of_the_definition() -> None:
    noisy = crowd(TWO, 0.2)
    kept = np.zeros(len(noisy.scores), bool)
    kept[[0, 1, 60, len(kept) - 1]] = True
    found = average_shapes(noisy, kept)
    for shape, survivor in zip(found, np.flatnonzero(kept), strict=True):
        same = np.isclose(shape, averaged_by_hand(noisy, survivor), rtol=1e-4)
        assert same.mean() > 0.97, "but for corners halfway between two rays"
