"""The label field against brute force, and what it promises: star-convex, in one piece, as many as AnyStar's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from skimage.measure import label

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.shapes import BallField
from anystar_torch.generator.scene.surface import RoughBall, SmoothStar
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.kernels.balls import nearest_ball
from anystar_torch.random.source import Source

SCENE = (128, 128, 128)


def source(count: int = 2) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


@pytest.fixture(scope="module")
def field() -> BallField:
    return load_synthesizer("mix").scene.objects


@pytest.fixture(scope="module")
def maps(field: BallField) -> np.ndarray:
    """Two scenes at every second voxel, numbered as the field numbers them."""
    grid = Coordinates.of_grid((64, 64, 64), torch.full((2, 3), 128.0)).position * 2.0
    return field(grid, SCENE, source()).ball[:, 0].numpy()


def test_the_nearest_of_eight_is_the_nearest_of_all(field: BallField) -> None:
    balls = field.balls(torch.full((2,), 12.0), SCENE, source())
    position = source().uniform("position", 0.0, 127.0, 3, 8, 8, 8)
    winner = nearest_ball(balls.centre, balls.radius, balls.pitch, position)
    count = balls.radius[0].numel()
    centre, radius = balls.centre.flatten(2), balls.radius.flatten(1)
    excess = (position.flatten(2)[:, :, None] - centre[..., None]).square().sum(1).sqrt() - radius[..., None]
    best, index = excess.min(1)
    flat = winner.flatten(1) - torch.arange(2)[:, None] * count
    near = best < 3.0  # farther away nothing is drawn, whichever it is
    assert near.float().mean() > 0.2
    assert torch.equal(flat[near].long(), index[near])


def test_as_many_balls_are_kept_as_in_the_original(field: BallField) -> None:
    balls = field.balls(torch.full((3000,), 12.0), SCENE, source(3000))
    counts = torch.bincount((balls.radius > 0).flatten(1).sum(1), minlength=65)
    assert counts[:42].sum() == counts[64] == 0  # randint(42, 64)
    assert stats.chisquare(counts[42:64].numpy()).pvalue > 1e-4
    kept = balls.radius[balls.radius > 0]
    assert kept.min() > 7.2
    assert kept.max() < 14.4
    inner = (balls.centre - 63.5).abs().amax(1)[balls.radius > 0]
    assert inner.max() < 45.5 + 0.5


def test_every_object_is_one_piece_inside_its_bounds(maps: np.ndarray) -> None:
    for scene in maps:
        pieces, count = label(scene, connectivity=3, return_num=True)
        assert count == len(np.unique(scene)) - 1
        assert 42 <= count <= 63
        assert pieces[[0, -1]].max() == 0  # nothing touches the faces
        assert 0.11 < (scene > 0).mean() < 0.19  # the original's, over ten maps


@pytest.mark.parametrize("own", [False, True])
def test_every_object_is_star_convex_about_its_centre(field: BallField, own: bool) -> None:
    if own:
        field = replace(field, surface=SmoothStar(deviation=0.3, bumps=1.5, elongation=(0.5, 2.0)))
    balls = field.balls(field.mean_radius[0] * torch.ones(1), SCENE, source(1))
    points = source(1).uniform("points", -45.0, 45.0, 3, 1, 1, 20000)
    numbers = field(points, SCENE, source(1)).ball[0, 0, 0, 0]
    inside = numbers > 0
    centre = balls.centre[0].flatten(1)[:, (numbers[inside] - 1).long()] - 63.5
    ray = points[0, :, 0, 0][:, inside] - centre
    for share in (0.97, 0.8, 0.5, 0.2, 0.01):
        nearer = (centre + share * ray)[None, :, None, None]
        assert torch.equal(field(nearer, SCENE, source(1)).ball[0, 0, 0, 0], numbers[inside])


def test_without_roughness_objects_are_balls(field: BallField) -> None:
    smooth = replace(field, surface=RoughBall(roughness=0.0, cell=16), jitter=0.0, radius=(0.9, 0.9))
    points = source(1).uniform("points", -45.0, 45.0, 3, 1, 1, 5000)
    numbers = smooth(points, SCENE, source(1)).ball[0, 0, 0, 0]
    balls = smooth.balls(torch.full((1,), 12.0), SCENE, source(1))
    centre = balls.centre[0].flatten(1)[:, balls.radius[0].flatten() > 0] - 63.5
    distance = (points[0, :, 0, 0][:, None] - centre[..., None]).square().sum(0).sqrt().amin(0)
    assert torch.equal(numbers > 0, distance < 10.8)


def test_the_size_of_objects_follows_its_range(field: BallField) -> None:
    small = replace(field, mean_radius=(6.0, 12.0))
    balls = small.balls(torch.tensor([6.0, 12.0]), SCENE, source())
    first, second = ((radius > 0).sum().item() for radius in balls.radius)
    assert first > 5 * second  # half the pitch: 9^3 lattice points for 4^3
    assert balls.radius[0].max() < 7.2


def test_spheroids_keep_their_volume_and_have_their_elongation(field: BallField) -> None:
    surface = SmoothStar(deviation=0.0, bumps=0.0, elongation=(1.8, 1.8))
    sparse = replace(field, surface=surface, jitter=0.0, radius=(0.6, 0.6), occupancy=(1.0, 1.0))
    axis = torch.arange(24.0) - 12.0
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"))[None] + (48.0 - 63.5)
    inside = sparse(points, SCENE, source(1)).ball[0, 0] > 0  # the ball at (48, 48, 48), alone in its cell
    assert inside.sum().item() == pytest.approx(4 / 3 * np.pi * 7.2**3, rel=0.03)
    coordinates = points[0][:, inside].double()
    widths = torch.linalg.eigvalsh(torch.cov(coordinates)).sqrt()
    assert (widths[2] / widths[:2]).numpy() == pytest.approx(1.8, rel=0.06)
    assert (widths[0] / widths[1]).item() == pytest.approx(1.0, rel=0.06)
