"""Which dimension is z, y, x, channel and time: by the names in the file, by the caller, or asked for in one line."""

import itertools

import numpy as np
import pytest
import SimpleITK
import tifffile

from anystar_torch import io

VOLUME = np.random.default_rng(0).integers(0, 60000, (5, 7, 9)).astype(np.uint16)  # Z Y X
SERIES = np.random.default_rng(1).integers(0, 60000, (2, 3, 5, 7, 9)).astype(np.uint16)  # T C Z Y X
zarr = pytest.importorskip("zarr")


def _as(array, axes, order):
    """The array with its dimensions in another order."""
    return np.ascontiguousarray(array.transpose([axes.index(letter) for letter in order]))


def _zarr_array(path, data, names, style):
    if style == "dimension_names":
        array = zarr.create_array(path, data=data, dimension_names=names, zarr_format=3)
    else:
        array = zarr.create_array(path, data=data, zarr_format=2)
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    return array


def _ome(path, data, axes, scale, version):
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=data)
    sets = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}]
    about = {"version": version, "axes": axes, "datasets": sets}
    group.attrs.update({"multiscales": [about]} if version == "0.4" else {"ome": {"multiscales": [about]}})


@pytest.mark.parametrize("style", ["dimension_names", "_ARRAY_DIMENSIONS"])
@pytest.mark.parametrize("order", list(map("".join, itertools.permutations("zyx"))))
def test_names_of_a_zarr_array_are_its_axes(tmp_path, order, style):
    for names in (order, order.upper(), [{"z": "depth", "y": "row", "x": "col"}[letter] for letter in order]):
        path = tmp_path / f"{''.join(names)}.zarr"
        _zarr_array(path, _as(VOLUME, "zyx", order), names, style)
        assert np.array_equal(io.read(path).array, VOLUME)


@pytest.mark.parametrize("style", ["dimension_names", "_ARRAY_DIMENSIONS"])
@pytest.mark.parametrize("order", ["tczyx", "xyzct", "ztyxc", "ctxzy"])
def test_channel_and_time_may_lie_anywhere(tmp_path, order, style):
    _zarr_array(tmp_path / "a.zarr", _as(SERIES, "tczyx", order), order, style)
    assert io.frames(tmp_path / "a.zarr") == 2
    found = io.read(tmp_path / "a.zarr", channel=2, frame=1)
    assert np.array_equal(found.array, SERIES[1, 2])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("order", ["zyx", "xyz", "yzx", "ZYX", "XZY"])
def test_axes_and_scale_of_an_ome_zarr_go_together(tmp_path, order, version):
    sizes = {"z": 2.0, "y": 0.5, "x": 0.25}
    units = {"z": "micrometer", "y": "micrometer", "x": "nanometer"}
    axes = [{"name": name, "type": "space", "unit": units[name.lower()]} for name in order]
    scale = [sizes[name] * (1000 if name == "x" else 1) for name in order.lower()]
    _ome(tmp_path / "a.zarr", _as(VOLUME, "zyx", order.lower()), axes, scale, version)
    found = io.read(tmp_path / "a.zarr")
    assert np.array_equal(found.array, VOLUME)
    assert (found.spacing, found.unit) == (pytest.approx((2.0, 0.5, 0.25)), "um")


def test_the_type_of_an_ome_axis_tells_time_and_channel(tmp_path):
    axes = [{"name": "wavelength", "type": "channel"}, {"name": "moment", "type": "time"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    _ome(tmp_path / "a.zarr", _as(SERIES, "tczyx", "ctzyx"), axes, [1, 1, 2, 1, 1], "0.4")
    found = io.read(tmp_path / "a.zarr", channel=1, frame=1)
    assert np.array_equal(found.array, SERIES[1, 1])
    assert found.spacing == (2, 1, 1)


@pytest.mark.parametrize("names", ["tyx", "TYX", ["time", "y", "x"]])
def test_a_movie_of_2d_images_is_no_volume_until_the_caller_says_so(tmp_path, names):
    _zarr_array(tmp_path / "a.zarr", VOLUME, names, "dimension_names")
    with pytest.raises(ValueError, match=r'a\.zarr is a time series of 2D images .*set axes="ZYX"'):
        io.read(tmp_path / "a.zarr")
    assert np.array_equal(io.read(tmp_path / "a.zarr", axes="ZYX").array, VOLUME)


@pytest.mark.parametrize(
    "names", [("a", "b", "c"), ("z", "z", "x"), ("z", None, "x"), ("phase", "depth", "x")]
)
def test_axes_that_cannot_be_told_are_asked_for(tmp_path, names):
    _zarr_array(tmp_path / "a.zarr", VOLUME, names, "dimension_names")
    with pytest.raises(ValueError, match=r"a\.zarr .*axes=") as refused:
        io.read(tmp_path / "a.zarr")
    assert len(str(refused.value).splitlines()) == 1
    assert np.array_equal(io.read(tmp_path / "a.zarr", axes="zyx").array, VOLUME)


def test_unnamed_dimensions_are_zyx_and_others_are_asked_for(tmp_path):
    np.save(tmp_path / "3.npy", VOLUME)
    assert np.array_equal(io.read(tmp_path / "3.npy").array, VOLUME)
    np.save(tmp_path / "4.npy", SERIES[0])
    with pytest.raises(ValueError, match=r'4\.npy has 4 dimensions without names .*axes="CZYX"'):
        io.read(tmp_path / "4.npy")
    assert np.array_equal(io.read(tmp_path / "4.npy", channel=1).array, SERIES[0, 1])
    assert np.array_equal(io.read(tmp_path / "4.npy", frame=1).array, SERIES[0, 1])
    assert io.frames(tmp_path / "4.npy", axes="TZYX") == 3
    np.save(tmp_path / "rgb.npy", np.zeros((40, 50, 3), np.uint8))
    with pytest.raises(ValueError, match="axes="):
        io.read(tmp_path / "rgb.npy")
    np.save(tmp_path / "last.npy", np.moveaxis(np.stack([np.zeros((8, 40, 50), np.uint8)] * 3), 0, -1))
    with pytest.raises(ValueError, match='axes="ZYXC"'):
        io.read(tmp_path / "last.npy", channel=0)
    assert io.read(tmp_path / "last.npy", channel=0, axes="ZYXC").array.shape == (8, 40, 50)
    np.save(tmp_path / "single.npy", VOLUME[None, :, None])
    assert np.array_equal(io.read(tmp_path / "single.npy", axes="ZYX").array, VOLUME)


@pytest.mark.parametrize("axes", ["ZY", "ZZX", "ABC", "", "ZYXCTZ", "CZYX"])
def test_axes_that_do_not_fit_are_refused(tmp_path, axes):
    np.save(tmp_path / "a.npy", VOLUME)
    with pytest.raises(ValueError, match="axes"):
        io.read(tmp_path / "a.npy", axes=axes)


def test_a_channel_or_frame_that_is_not_there_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", VOLUME)
    assert np.array_equal(io.read(tmp_path / "a.npy", channel=0).array, VOLUME)
    for pick in ({"channel": 1}, {"frame": 1}, {"frame": -1}):
        with pytest.raises(ValueError, match="choose 0"):
            io.read(tmp_path / "a.npy", **pick)


def test_sizes_and_place_go_with_dimensions_that_are_renamed(tmp_path):
    """ITK reads what is written back at the place of the dimensions, whatever they are called."""
    image = SimpleITK.GetImageFromArray(VOLUME)
    image.SetSpacing((0.25, 0.5, 2.0))
    image.SetOrigin((3, 4, 5))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    found = io.read(tmp_path / "a.nrrd", axes="XYZ")
    assert np.array_equal(found.array, VOLUME.transpose(2, 1, 0))
    assert found.spacing == pytest.approx((250, 500, 2000))
    io.write(tmp_path / "b.nrrd", found.array.astype(np.int64), found)
    swapped = SimpleITK.ReadImage(str(tmp_path / "b.nrrd"))
    for index in ((0, 0, 0), (1, 2, 3), (4, 6, 8)):
        there = image.TransformIndexToPhysicalPoint(index[::-1])
        assert swapped.TransformIndexToPhysicalPoint(index) == pytest.approx(there)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_an_image_of_bioformats2raw_is_found_and_of_several_one_is_named(tmp_path, version):
    path = tmp_path / "a.zarr"
    layout = {"bioformats2raw.layout": 3}
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    group.attrs.update(layout if version == "0.4" else {"ome": {"version": version, **layout}})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    _ome(path / "0", VOLUME, axes, [2, 1, 1], version)
    found = io.read(path)
    assert np.array_equal(found.array, VOLUME)
    assert found.spacing == (2, 1, 1)
    _ome(path / "1", VOLUME + 1, axes, [2, 1, 1], version)
    with pytest.raises(ValueError, match=r"a\.zarr holds 2 images \(0, 1\); give one of them"):
        io.read(path)
    assert np.array_equal(io.read(path / "1").array, VOLUME + 1)


@pytest.mark.parametrize("slices", [3, 4])
def test_a_stack_that_was_stored_as_colours_says_how_to_read_it(tmp_path, slices):
    stack = np.random.default_rng(0).integers(0, 9, (slices, 20, 30)).astype(np.uint16)
    # What tifffile writes by default for three or four slices.
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match=r'a 2D image .*axes CYX.*if the first axis is z, set axes="ZYX"'):
        io.read(tmp_path / "a.tif")
    assert np.array_equal(io.read(tmp_path / "a.tif", axes="ZYX").array, stack)
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(ValueError, match="a 2D image") as refused:
        io.read(tmp_path / "b.tif")
    assert "axes=" not in str(refused.value)


@pytest.mark.parametrize("style", ["dimension_names", "_ARRAY_DIMENSIONS"])
@pytest.mark.parametrize(
    ("names", "written"),
    [
        ("tczyx", "tzyx"),
        (("time", "channel", "depth", "row", "col"), ("time", "depth", "row", "col")),
        ("xyzct", "tzyx"),
        (("T", "C", "phase", "Y", "X"), ("T", "z", "Y", "X")),
    ],
)
def test_labels_of_a_zarr_array_have_the_names_of_its_axes(tmp_path, names, written, style):
    order = "xyzct" if names == "xyzct" else "tczyx"
    _zarr_array(tmp_path / "a.zarr", _as(SERIES, "tczyx", order), names, style)
    found = io.read(tmp_path / "a.zarr", frame=0, channel=1)
    labels = SERIES[:, 1] % 7
    io.write(tmp_path / "b.zarr", labels, found)
    assert zarr.open_array(tmp_path / "b.zarr").attrs["_ARRAY_DIMENSIONS"] == list(written)
    assert io.frames(tmp_path / "b.zarr") == 2
    assert np.array_equal(io.read_labels(tmp_path / "b.zarr", frame=1).array, labels[1])
    io.write(tmp_path / "c.zarr", labels[1], found)
    assert np.array_equal(io.read_labels(tmp_path / "c.zarr").array, labels[1])


def test_labels_of_a_time_series_without_names_get_names(tmp_path):
    _zarr_array(tmp_path / "a.zarr", SERIES[:, 1], (), "_ARRAY_DIMENSIONS")
    found = io.read(tmp_path / "a.zarr", frame=0, axes="TZYX")
    io.write(tmp_path / "b.zarr", SERIES[:, 1] % 7, found)
    assert io.frames(tmp_path / "b.zarr") == 2
    assert np.array_equal(io.read_labels(tmp_path / "b.zarr", frame=1).array, SERIES[1, 1] % 7)


@pytest.mark.parametrize("spacing", [0.5, [0.5], [1, 2, 3, 4], "0.5", [1, [2, 3], 4], {"z": 1}, True])
def test_a_spacing_of_a_zarr_array_that_is_not_three_numbers_is_no_voxel_size(tmp_path, spacing):
    zarr.create_array(tmp_path / "a.zarr", data=VOLUME, zarr_format=2).attrs["spacing"] = spacing
    found = io.read(tmp_path / "a.zarr")
    assert np.array_equal(found.array, VOLUME)
    assert found.spacing is None
    assert io.read(tmp_path / "a.zarr", spacing=(3, 2, 1)).spacing == (3, 2, 1)
