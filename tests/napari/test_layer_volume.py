"""Axes, voxel size and parts of the volume of a layer."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from napari.layers import Image

from anystar_torch.napari.layer_volume import LabelsPlace, LayerVolume

DATA = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)


def test_axes_go_by_their_names_in_any_order():
    layer = Image(DATA, axis_labels=("z", "channel", "y", "Time", "x"))
    volume = LayerVolume.of(layer)
    assert volume.letters == "ZCYTX"
    assert (volume.shape, volume.count("T"), volume.count("C")) == ((2, 4, 6), 5, 3)
    assert np.array_equal(volume.read(frame=1, channel=2), DATA[:, 2, :, 1])


def test_axes_without_names_go_by_their_position():
    assert LayerVolume.of(Image(DATA)).letters == "TCZYX"
    assert LayerVolume.of(Image(DATA[0])).letters == "TZYX"
    assert LayerVolume.of(Image(DATA[0]), leading="C").letters == "CZYX"


def test_a_transposed_volume_is_read_as_zyx():
    layer = Image(DATA[0, 0], axis_labels=("x", "z", "y"))
    part = LayerVolume.of(layer).read(box=(slice(1, 3), slice(0, 2), slice(2, 4)))
    assert np.array_equal(part, DATA[0, 0, 2:4, 1:3, 0:2].transpose(1, 2, 0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (np.zeros((4, 5)), "2 dimensions"),
        (np.zeros((4, 5, 3), np.uint8), "colour image"),
        (np.zeros((4, 5, 6), complex), "real numbers"),
    ],
)
def test_what_is_no_volume_is_refused_in_one_line(data, message):
    if data.dtype.kind == "c":
        layer = Image(np.zeros((4, 5, 6)))
        layer._data = data  # napari itself shows no complex numbers
    else:
        layer = Image(data, rgb=data.dtype == np.uint8)
    with pytest.raises(ValueError, match=message) as error:
        LayerVolume.of(layer)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("scale", "units", "expected"),
    [
        ((1, 1, 1), "pixel", (None, "")),
        ((2, 1, 1), "pixel", ((2, 1, 1), "")),
        ((2, 0.5, 0.25), "um", ((2, 0.5, 0.25), "um")),
        ((2000, 500, 250), "nm", ((2, 0.5, 0.25), "um")),
        ((0.002, 0.001, 0.001), "mm", ((2, 1, 1), "um")),
        ((-2, 1, 1), "um", ((2, 1, 1), "um")),
    ],
)
def test_spacing_follows_scale_and_units(scale, units, expected):
    spacing, unit = LayerVolume.of(Image(DATA[0, 0], scale=scale, units=units)).spacing
    assert unit == expected[1]
    assert spacing == (None if expected[0] is None else pytest.approx(expected[0]))


def test_labels_lie_over_the_channel_and_the_part_of_the_image():
    layer = Image(DATA, scale=(1, 1, 2, 3, 4), translate=(0, 0, 10, 0, 0))
    source = LayerVolume.of(layer)
    place = LabelsPlace(source, channel=2, start=(1, 2, 3), shape=(2, 2, 2), frames=2)
    data = place.empty()
    assert data.shape == (2, 1, 2, 2, 2)
    place.volume(data, 1)[...] = 7
    assert (data[1] == 7).all()
    assert not data[0].any()
    assert place.transform["translate"] == (0, 2, 12, 6, 12)
    assert (
        source.place((1.0, 0.0, 3.0, 4.0, 5.0)) == place.position((1.0, 0.0, 3.0, 4.0, 5.0)) == (1, (3, 4, 5))
    )


def test_labels_of_one_time_point_hold_this_one_only():
    source = LayerVolume.of(Image(DATA, scale=(2, 1, 1, 1, 1)))
    place = LabelsPlace.whole(source, channel=0, frame=1)
    data = place.empty()
    assert data.shape == (1, 1, 4, 5, 6)
    place.volume(data, 1)[...] = 7
    assert (data == 7).all()
    assert place.transform["translate"] == (2, 0, 0, 0, 0)
    assert place.position((0.0, 0.0, 3.0, 4.0, 5.0)) == (1, (3, 4, 5))


def test_levels_and_lazy_arrays_are_read_part_by_part():
    dask = pytest.importorskip("dask.array", reason="a lazy array needs dask")
    lazy = dask.from_array(DATA[0, 0], chunks=2)
    volume = LayerVolume.of(Image([lazy, lazy[::2, ::2, ::2]], multiscale=True))
    assert volume.shape == (4, 5, 6)
    assert isinstance(volume.read(box=(slice(0, 2),) * 3), np.ndarray)
    assert np.array_equal(volume.read(level=1), DATA[0, 0, ::2, ::2, ::2])
