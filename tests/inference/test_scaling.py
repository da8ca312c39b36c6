"""Resampling against torch and scipy; geometry against rendered shapes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anystar_torch.geometry.ops import render_labels
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference import resampling
from anystar_torch.inference.input_volume import diameter_in_voxels
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling

PLAIN = IntensityRange(0.0, 1.0, False)


def resampled(volume, shape):
    resampled = ResampledVolume(volume, Scaling(volume.shape, tuple(shape)), PLAIN)
    return resampled.box((0, 0, 0), tuple(shape))[0, 0]


@settings(max_examples=25, deadline=None)
@given(st.tuples(*[st.integers(2, 23)] * 3), st.tuples(*[st.integers(1, 30)] * 3))
def test_resampling_equals_torch_axis_by_axis(source, shape):
    volume = np.random.default_rng(0).random(source, np.float32)
    expected = torch.from_numpy(volume)
    for axis in range(3):  # torch has this interpolation for 2D images: one axis at a time
        moved = expected.movedim(axis, 0)
        columns = moved.reshape(1, 1, moved.shape[0], -1)
        flat = torch.cat([columns, columns], dim=3)  # torch 2.13 repeats the first pixel of a single column
        size = (shape[axis], flat.shape[3])
        flat = torch.nn.functional.interpolate(flat, size, mode="bilinear", antialias=True)
        expected = flat[..., : columns.shape[3]].reshape(shape[axis], *moved.shape[1:]).movedim(0, axis)
    assert torch.allclose(resampled(volume, shape), expected, atol=2e-6)


def test_enlarging_is_linear_interpolation():
    volume = np.random.default_rng(0).random((6, 7, 8), np.float32)
    ours = resampled(volume, (12, 14, 16)).numpy()
    theirs = ndimage.zoom(volume, 2, order=1, grid_mode=True, mode="nearest")
    assert ours == pytest.approx(theirs, abs=1e-6)


def test_boxes_agree_bit_for_bit_with_the_whole():
    volume = np.random.default_rng(0).integers(0, 60000, (31, 22, 27)).astype(np.uint16)
    scaling, intensities = Scaling(volume.shape, (23, 44, 27)), IntensityRange(100.0, 50000.0, True)
    view = ResampledVolume(volume, scaling, intensities)
    whole, part = view.box((0, 0, 0), scaling.shape), view.box((5, 16, 8), (21, 40, 27))
    assert torch.equal(part, whole[..., 5:21, 16:40, 8:27])


def test_past_the_end_the_volume_is_its_mirror_image():
    volume = np.random.default_rng(0).random((3, 4, 1), np.float32)
    view = ResampledVolume(volume, Scaling(volume.shape, volume.shape), PLAIN)
    box = view.box((0, 0, 0), (8, 8, 4))[0, 0].numpy()
    assert np.array_equal(box[:, :, 0], np.pad(volume[:, :, 0], ((0, 5), (0, 4)), mode="reflect"))
    assert np.array_equal(box[:, :, 3], box[:, :, 0])


def test_polyhedra_keep_their_place_and_shape():
    rays = Rays.golden_spiral(96)
    scaling = Scaling((30, 60, 80), (60, 60, 40))
    point, distances = np.array([[29.5, 30, 20]], np.float32), np.full((1, 96), 12, np.float32)
    turned, growth = scaling.rays(rays)
    moved = scaling.points(point)
    drawn = render_labels(
        torch.from_numpy(moved), torch.from_numpy(distances * growth), turned, scaling.source
    )
    z, y, x = np.meshgrid(*[np.arange(s) for s in scaling.source], indexing="ij")
    ellipsoid = ((z - 14.5) / 6) ** 2 + ((y - 30) / 12) ** 2 + ((x - 40.5) / 24) ** 2 <= 1
    inside = drawn.numpy() > 0
    assert (inside & ellipsoid).sum() / (inside | ellipsoid).sum() > 0.93
    assert not (inside & ~ndimage.binary_dilation(ellipsoid, iterations=2)).any()
    assert turned.anisotropy == (2.0, 1.0, 0.5)


def test_points_come_back_where_the_taps_took_them_from():
    volume = np.arange(20, dtype=np.float32)[:, None, None] * np.ones((1, 3, 3), np.float32)
    scaling = Scaling(volume.shape, (40, 3, 3))
    box = ResampledVolume(volume, scaling, PLAIN).box((2, 0, 0), (38, 3, 3))[0, 0, :, 0, 0].numpy()
    places = np.stack([np.arange(2, 38), np.zeros(36), np.zeros(36)], 1).astype(np.float32)
    assert scaling.points(places)[:, 0] == pytest.approx(box, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "spacing", "expected"),
    [
        (12, None, 12),
        ("12", None, 12),
        ("8um", (2, 0.5, 0.5), 16),
        ("8 \u00b5m", (0.5, 1, 2), 16),
        ("8\u03bcm", (0.5, 1, 2), 16),
        ("0.5mm", (5, 5, 5), 100),
        ("500nm", (0.1, 0.25, 0.25), 5),
        ("1e1px", None, 10),
        (np.float32(3.5), None, 3.5),
    ],
)
def test_diameters_and_their_units(text, spacing, expected):
    assert diameter_in_voxels(str(text), spacing) == pytest.approx(expected)


def test_scaling_brings_any_spacing_to_the_networks():
    rays = Rays.golden_spiral(16)
    assert Scaling.of((50, 100, 100), (2, 1, 1), 26, 13, rays).shape == (50, 50, 50)
    assert Scaling.of((50, 100, 100), (0.4, 0.2, 0.2), 6.5, 13, rays).shape == (200, 200, 200)
    flat = Rays.golden_spiral(16, (2, 1, 1))
    assert Scaling.of((50, 100, 100), (2, 1, 1), 13, 13, flat).shape == (50, 100, 100)
    assert Scaling.of((1, 1, 1), (1, 1, 1), 130, 13, rays).shape == (1, 1, 1)


@pytest.mark.parametrize("kind", [np.int32, np.uint32, np.int64, np.float64])
def test_a_large_offset_leaves_the_differences(kind):
    """float32 holds about 7 digits: 10^9 and 10^9 + 30 are one number."""
    volume = np.random.default_rng(0).integers(0, 100, (6, 7, 8))
    scaling, far = Scaling(volume.shape, (9, 7, 5)), IntensityRange(1e9, 1e9 + 100, False)
    found = ResampledVolume((volume + 10**9).astype(kind), scaling, far).box((0, 0, 0), scaling.shape)
    assert torch.allclose(found[0, 0], resampled(volume / np.float32(100), scaling.shape), atol=1e-5)


def test_a_single_voxel_or_slice_is_continued():
    volume = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    view = ResampledVolume(volume, Scaling(volume.shape, volume.shape), PLAIN)
    box = view.box((-2, -1, -3), (3, 3, 5))[0, 0].numpy()
    expected = np.pad(volume[0], ((1, 1), (3, 2)), mode="reflect")
    assert np.array_equal(box, np.broadcast_to(expected, (5, 4, 8)))


def test_a_box_in_the_mirror_image_alone_is_reversed():
    volume = np.random.default_rng(0).random((4, 5, 3), np.float32)
    view = ResampledVolume(volume, Scaling(volume.shape, volume.shape), PLAIN)
    box = view.box((3, 0, -2), (7, 5, 1))[0, 0].numpy()  # as many voxels as the volume has
    assert np.array_equal(box, volume[::-1, :, ::-1])


@pytest.mark.parametrize("limit", ["_INPUT_VOXELS", "_MOST_INPUT_VOXELS"])
def test_a_volume_resampled_in_pieces_is_the_same(monkeypatch, limit):
    volume = np.random.default_rng(0).random((13, 14, 15), np.float32)
    whole = resampled(volume, (9, 20, 15))
    monkeypatch.setattr(resampling, "_INPUT_VOXELS", 200)
    monkeypatch.setattr(resampling, limit, 40)
    assert torch.equal(resampled(volume, (9, 20, 15)), whole)


def test_a_volume_that_would_grow_beyond_measure_is_refused():
    rays = Rays.golden_spiral(16)
    assert Scaling.of((10, 10, 10), (1, 1, 1), 1.0, 46.0, rays).shape == (460, 460, 460)  # 97,336 times
    with pytest.raises(ValueError, match="10 x 10 x 10 voxels would be resampled to 470 x 470 x 470"):
        Scaling.of((10, 10, 10), (1, 1, 1), 1.0, 47.0, rays)  # 103,823 times


@pytest.mark.parametrize("spacing", [(1e308, 1e-308, 1.0), (1e300, 1.0, 1e300), (1.0, 1e-200, 1.0)])
def test_ratios_of_spacing_beyond_all_numbers_are_refused_too(spacing):
    with pytest.raises(ValueError, match=r"would be resampled to .* check spacing") as error:
        Scaling.of((10, 10, 10), spacing, 13.0, 13.0, Rays.golden_spiral(16))
    assert len(str(error.value)) < 250
