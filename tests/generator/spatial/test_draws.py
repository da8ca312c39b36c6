"""What random spatial effects draw: angles in degrees, shifts before rotations, crops at every place."""

import math

import numpy as np
import pytest
import torch
from monai.transforms.utils import create_rotate
from scipy import stats

from anystar_torch.generator.spatial.affine import RandomAffine
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.generator.spatial.crop import RandomCrop
from anystar_torch.generator.spatial.orientation import RandomOrientation
from anystar_torch.generator.spatial.zoom import RandomZoom, zoom
from anystar_torch.random.source import Source


def source(count: int) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


def test_angles_are_degrees_and_the_shift_comes_before_the_rotation() -> None:
    """Against MONAI's matrix, in the middle of a volume that is large enough for every position."""
    grid = Coordinates.of_grid((4, 4, 4), torch.full((1, 3), 64.0))
    shifted = RandomAffine(angle=(30.0, 30.0), shift=(5.0, 5.0))(grid, source(1)).position[0].numpy()
    matrix = np.asarray(create_rotate(3, [math.pi / 6] * 3))[:3, :3]
    expected = np.einsum("ij,jzyx->izyx", matrix, grid.position[0].numpy() + 5.0)
    assert shifted == pytest.approx(expected, abs=1e-4)


def test_positions_are_reflected_at_the_outermost_voxel_centres() -> None:
    """A shift of 3 voxels along a line of 9: numpy's reflection about the last voxel."""
    line = Coordinates.of_grid((9, 1, 1), torch.tensor([[9.0, 9.0, 9.0]]))
    moved = RandomAffine(angle=(0.0, 0.0), shift=(3.0, 3.0))(line, source(1)).position[0, 0, :, 0, 0] + 4.0
    assert moved.tolist() == np.pad(np.arange(9), (0, 3), mode="reflect")[3:].tolist()


def test_a_crop_of_one_size_is_at_every_place_of_the_scene_equally_often() -> None:
    crop, shape, count = RandomCrop(share=(0.5, 0.5)), (32, 32, 32), 3400
    size = torch.full((count, 3), 16.0)
    assert torch.equal(crop.size(shape, source(count)), size)
    centre = crop(Coordinates.of_grid((1, 1, 1), size), shape, source(count)).position[:, :, 0, 0, 0]
    first = centre + 15.5 - 7.5
    for axis in range(3):
        places, counts = torch.unique(first[:, axis], return_counts=True)
        assert places.tolist() == list(range(17))
        assert stats.chisquare(counts.numpy()).pvalue > 1e-4


def test_the_largest_draw_is_no_crop_beyond_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, 1 - 2^-24 of 65 voxels and 64 are 129."""
    last = torch.tensor(1.0 - 2.0**-24)
    monkeypatch.setattr(Source, "uniform", lambda self, name, low, high, count: last.expand(1, count))
    assert (last * 65.0 + 64.0).item() == 129.0
    assert RandomCrop(share=(0.5, 1.0)).size((128, 128, 128), source(1)).tolist() == [[128.0] * 3]


@pytest.mark.parametrize("factor", [0.5, 1.0, 1.7])
def test_a_zoom_widens_edges_as_an_interpolation_between_its_voxels(factor: float) -> None:
    """The mean of f (1 - f) over the fractions f between two voxels, which are ``factor`` voxels apart."""
    fraction = (np.arange(1000) + 0.5) / 1000
    expected = factor**2 * (fraction * (1 - fraction)).mean()
    grid = Coordinates.of_grid((4, 4, 4), torch.full((1, 3), 64.0))
    assert zoom(grid, torch.tensor([factor])).spread.item() == pytest.approx(expected, rel=1e-4)


def test_the_edges_of_large_magnifications_are_as_wide_as_at_2() -> None:
    grid = Coordinates.of_grid((4, 4, 4), torch.full((2, 3), 64.0))
    two, four = (RandomZoom(factor=(f, f))(grid, source(2)).spread for f in (2.0, 4.0))
    assert two.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert torch.equal(four, two)


def test_axes_are_mirrored_and_turned_as_often_as_is_said() -> None:
    grid = Coordinates.of_grid((5, 5, 5), torch.full((4000, 3), 5.0))
    corner = RandomOrientation(flip=0.2, turn=0.0)(grid, source(4000)).position[:, :, 0, 0, 0]
    assert (corner > 0).float().mean(0).numpy() == pytest.approx(0.2, abs=0.03)
    place = RandomOrientation(flip=0.0, turn=0.3)(grid, source(4000)).position[:, :, 1, 2, 4]
    same = (place == torch.tensor([-1.0, 0.0, 2.0])).all(1).float().mean().item()
    assert same == pytest.approx(0.7 + 0.3 / 6, abs=0.03)
