"""The coarse pass against predictions at both scales."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.coarse_pass import COARSE_FACTOR, CoarsePass
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tiles import Tile, cut_volume
from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

SHAPE = (40, 44, 52)


def model(grid=(1, 1, 1), blur=0, **options):
    return AnyStar(Sees(grid, blur=blur).eval(), config(), shape_averaging=False, **options)


def predict(the, volume, **options):
    return the.predict(volume, diameter=13, device="cpu", progress=False, **options)


def interpolated(second: CoarsePass, tile: Tile, shape: tuple[int, ...]) -> np.ndarray:
    """The coarse probability at the grid points of a tile, by scipy."""
    axes = []
    for axis in range(3):
        voxel = tile.start[axis] + second.grid[axis] * np.arange(shape[axis])
        place = (voxel + 0.5) / second.fine.shape[axis]  # share of the volume
        axes.append((place * second.coarse.shape[axis] - 0.5) / second.grid[axis])
    points = np.stack(np.meshgrid(*axes, indexing="ij"))
    return ndimage.map_coordinates(second.probability.numpy(), points, order=1, mode="nearest")


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2), (1, 2, 2)])
@pytest.mark.parametrize("far", [(24, 26, 31), (23, 26, 3), (1, 2, 30), (60, 44, 52)])
def test_agreement_is_the_geometric_mean_at_the_same_place(grid, far):
    rng = np.random.default_rng(0)
    size = [-(-n // g) for n, g in zip(far, grid, strict=True)]
    seen = torch.from_numpy(rng.random(size, np.float32))
    second = CoarsePass(seen, Scaling((80, 90, 100), far), Scaling((80, 90, 100), SHAPE), grid)
    divisor = tuple(4 * g for g in grid)
    cut = cut_volume(SHAPE, divisor, tuple(-(-20 // d) * d for d in divisor), divisor)
    assert len(cut) > 8
    for tile in cut:
        shape = [(b - a) // g for a, b, g in zip(tile.start, tile.stop, grid, strict=True)]
        close = torch.from_numpy(rng.random((1, *shape), np.float32))
        expected = np.sqrt(close[0].numpy() * interpolated(second, tile, shape))
        np.testing.assert_allclose(second.combine(close, tile)[0].numpy(), expected, rtol=0, atol=2e-6)


@pytest.mark.long
@pytest.mark.parametrize("tta", [False, True])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2.18, 1, 1.3)])
def test_the_scores_are_those_of_both_passes(tta, spacing):
    """Candidate by candidate, against two predictions without it, one of them at the other size."""
    image, _ = balls(SHAPE, lattice(SHAPE, 15))
    options = {"spacing": spacing, "device": "cpu", "progress": False}
    both = model((2, 2, 2), tta=tta).candidates(image, diameter=13, prob_thresh=0.3, **options)
    once = model((2, 2, 2), tta=tta, coarse_pass=False)
    near = once.candidates(image, diameter=13, prob_thresh=0, **options)
    far = once.candidates(image, diameter=13 * COARSE_FACTOR, prob_thresh=0, **options)
    maps = []
    for found in (near, far):
        whole = np.zeros([-(-n // 2) for n in found.scaling.shape], np.float32)
        whole[tuple((found.points // 2).astype(int).T)] = found.scores
        maps.append(whole)
    place = (both.points + 0.5) / near.scaling.shape * far.scaling.shape - 0.5
    second = ndimage.map_coordinates(maps[1], place.T / 2, order=1, mode="nearest")
    first = maps[0][tuple((both.points // 2).astype(int).T)]
    assert len(both.scores) > 20
    assert both.scores == pytest.approx(np.sqrt(first * second), abs=1e-5)
    assert both.scaling == near.scaling


def test_what_is_found_in_the_fine_pass_alone_is_left_out():
    image, labels = balls(SHAPE, lattice(SHAPE, 16))
    specks = np.random.default_rng(1).permutation(
        np.flatnonzero(ndimage.binary_erosion(labels == 0, iterations=3))
    )
    image.ravel()[specks[:40]] = 1  # as bright as a ball's centre, a voxel wide
    once = predict(model(coarse_pass=False), image)
    both = predict(model(), image)
    assert matching(labels, once.labels, 0.5).precision < 0.5
    assert matching(labels, both.labels, 0.5).f1 == 1


@pytest.mark.long
@pytest.mark.parametrize("grid", [(1, 1, 1), (2, 2, 2)])
def test_labels_do_not_depend_on_the_tiles(grid):
    tile = (24, 24, 24)
    image, _ = balls(SHAPE, lattice(SHAPE, 13), 6.5)
    image += np.random.default_rng(0).random(SHAPE, np.float32) / 8
    whole = predict(model(grid, blur=3), image, prob_thresh=0.4)
    cut = model(grid, blur=3, tile_options=TileOptions(size=tile, halo=(3, 3, 3), batch=3))
    parts = predict(cut, image, prob_thresh=0.4)
    assert set(cut.network.seen) == {tile}  # in the coarse pass, too
    assert len(parts) == len(whole) > 20
    assert np.array_equal(parts.labels, whole.labels)
    assert np.array_equal(parts.scores, whole.scores)


@pytest.mark.parametrize("volume", [(1, 30, 40), (3, 8, 60), (5, 5, 5)])
@pytest.mark.parametrize("tta", [False, True])
def test_volumes_of_any_shape(volume, tta):
    image = np.random.default_rng(0).random(volume, np.float32)
    found = model(grid=(2, 2, 2), tta=tta).candidates(
        image, diameter=13, prob_thresh=0, device="cpu", progress=False
    )
    assert np.isfinite(found.scores).all()
    assert len(found.scores)
    assert (found.points < volume).all()


def test_networks_that_may_not_know_smaller_objects_have_one_pass():
    imported = config(imported_from="StarDist")
    assert not AnyStar(Sees().eval(), config(diameter_band=(10.0, 13.0, 21.0))).coarse_pass
    assert not AnyStar(Sees().eval(), imported).coarse_pass
    assert AnyStar(Sees().eval(), imported, coarse_pass=True).coarse_pass
    assert AnyStar(Sees().eval(), config()).coarse_pass
    image, _ = balls(SHAPE, [np.array([20.0, 20, 20])], RADIUS)
    network = Sees().eval()
    predict(AnyStar(network, imported), image)
    assert len(network.seen) == 1
