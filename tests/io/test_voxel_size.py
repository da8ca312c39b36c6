"""Voxel sizes of TIFF, OME, ImageJ, Micro-Manager and Zarr, against the arithmetic of the programs that write them."""

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.io import voxel_size as rules

VOLUME = np.zeros((3, 4, 5), np.uint8)


def _imagej(path, lines, resolution=None, unit=1):
    """A stack with an ImageJ description, written tag by tag as ImageJ and Micro-Manager do."""
    text = "ImageJ=1.53t\nimages=3\nslices=3\n" + "".join(
        f"{name}={value}\n" for name, value in lines.items()
    )
    with tifffile.TiffWriter(path) as file:
        for number, plane in enumerate(VOLUME):
            tags = {"resolution": resolution, "resolutionunit": unit} if resolution else {}
            file.write(
                plane, contiguous=False, metadata=None, description=text if number == 0 else None, **tags
            )
    return path


def _in_imagej(lines, resolution, unit):
    """Sizes (z, y, x) and their units in ImageJ: ij/io/TiffDecoder.java, then FileOpener.java, step by step."""
    width = height = depth = 1.0
    word = None
    if resolution:
        width, height = 1 / resolution[0], 1 / resolution[1]
        if unit == 2 and width == 1 / 72:
            width = height = 1.0
        elif unit in (2, 3):
            word = {2: "inch", 3: "cm"}[unit]
    described = lines.get("unit", "").replace("\\u00B5", "\u00b5").replace("\\u00b5", "\u00b5")
    if word == "cm" and described == "um":
        width, height = width * 10000, height * 10000
    word = described
    if "spacing" in lines:
        depth = abs(float(lines["spacing"]))
    if width <= 0.0001 and word == "cm":
        width, height, word = width * 10000, height * 10000, "um"
        depth = depth * 10000 if depth != 1 else depth
    units = [lines.get("zunit", word), lines.get("yunit", word), word]
    return (depth, height, width), units


MICROMETRES = {
    "um": 1,
    "\u00b5m": 1,
    "micron": 1,
    "microns": 1,
    "nm": 1e-3,
    "mm": 1e3,
    "cm": 1e4,
    "inch": 25400,
}


@pytest.mark.parametrize(
    ("lines", "resolution", "unit"),
    [
        ({"unit": "um", "spacing": 1.0}, (20000, 20000), 3),  # Micro-Manager
        ({"unit": "um", "spacing": 2}, (2, 4), 1),
        ({"unit": "um"}, (2, 4), 1),
        ({"unit": "um", "spacing": -2}, (2, 4), 1),
        ({"unit": "um", "spacing": 2}, (72, 72), 2),
        ({"unit": "um", "spacing": 2}, None, 1),
        ({"unit": "micron", "spacing": 2}, (2, 4), 1),
        ({"unit": "microns", "spacing": 2}, (2, 4), 2),
        ({"unit": "\\u00B5m", "spacing": 2}, (2, 4), 1),
        ({"unit": "\\u00b5m", "spacing": 2}, (2, 4), 1),
        ({"unit": "nm", "spacing": 200}, (0.05, 0.04), 1),
        ({"unit": "mm", "spacing": 0.002}, (2000, 4000), 1),
        ({"unit": "cm", "spacing": 0.0002}, (20000, 20000), 3),
        ({"unit": "cm"}, (20000, 40000), 3),
        ({"unit": "cm", "spacing": 0.01}, (50, 80), 3),
        ({"unit": "inch", "spacing": 0.0001}, (20000, 20000), 2),
        ({"unit": "um", "zunit": "nm", "spacing": 2000}, (2, 4), 1),
        ({"unit": "um", "yunit": "nm", "spacing": 2}, (2, 0.002), 1),
        ({"unit": "um", "yunit": "mm", "zunit": "mm", "spacing": 0.002}, (2, 2000), 1),
    ],
)
def test_imagej_calibrations_are_read_as_imagej_reads_them(tmp_path, lines, resolution, unit):
    found = io.read(_imagej(tmp_path / "a.tif", lines, resolution, unit))
    sizes, units = _in_imagej(lines, resolution, unit)
    expected = [size * MICROMETRES[name] for size, name in zip(sizes, units, strict=True)]
    assert found.unit == "um"
    assert found.spacing == pytest.approx(expected)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "", "inches of rain"])
def test_imagej_without_a_unit_of_length_gives_ratios_at_most(tmp_path, unit):
    found = io.read(_imagej(tmp_path / "a.tif", {"unit": unit, "spacing": 3}, (1, 1)))
    assert (found.spacing, found.unit) == ((3, 1, 1), "")
    found = io.read(_imagej(tmp_path / "b.tif", {"unit": unit}, (20000, 20000), 3))
    assert (found.spacing, found.unit) == (None, "")


def test_a_unit_for_some_axes_only_is_no_voxel_size(tmp_path):
    found = io.read(_imagej(tmp_path / "a.tif", {"unit": "um", "zunit": "frames", "spacing": 3}, (1, 1)))
    assert found.spacing is None


def test_a_resolution_for_printing_is_no_voxel_size(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif", VOLUME, resolution=(300, 300), resolutionunit=2, photometric="minisblack"
    )
    assert io.read(tmp_path / "a.tif").spacing is None


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        (None, 1),
        ("\u00b5m", 1),
        ("um", 1),
        ("nm", 1e-3),
        ("mm", 1e3),
        ("cm", 1e4),
        ("pm", 1e-6),
        ("\u00c5", 1e-4),
        ("in", 25400),
        ("m", 1e6),
    ],
)
def test_ome_units(tmp_path, unit, size):
    """Units of the schema's UnitsLength; without one a length is in micrometres."""
    sizes = {f"PhysicalSize{axis}": value / size for axis, value in zip("ZYX", (2.0, 0.5, 0.25), strict=True)}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"} if unit else {}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, VOLUME, metadata={"axes": "ZYX", **sizes, **units}, photometric="minisblack")
    assert io.read(path).unit == "um"
    assert io.read(path).spacing == pytest.approx((2.0, 0.5, 0.25))


@pytest.mark.parametrize("unit", ["pixel", "reference frame"])
def test_ome_units_that_are_no_length_give_ratios(tmp_path, unit):
    sizes = {f"PhysicalSize{axis}": value for axis, value in zip("ZYX", (2.0, 0.5, 0.5), strict=True)}
    units = {f"PhysicalSize{axis}Unit": unit for axis in "ZYX"}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, VOLUME, metadata={"axes": "ZYX", **sizes, **units}, photometric="minisblack")
    assert (io.read(path).spacing, io.read(path).unit) == ((2.0, 0.5, 0.5), "")


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("micrometer", 1),
        ("nanometer", 1e-3),
        ("angstrom", 1e-4),
        ("millimeter", 1e3),
        ("centimeter", 1e4),
        ("inch", 25400),
        ("picometer", 1e-6),
        ("kilometer", 1e9),
    ],
)
def test_zarr_units(tmp_path, unit, size):
    """Units by their UDUNITS-2 names, as OME-NGFF demands them."""
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "a.zarr", mode="w", zarr_format=2)
    group.create_array("0", data=VOLUME)
    axes = [{"name": name, "type": "space", "unit": unit} for name in "zyx"]
    scale = [{"type": "scale", "scale": [value / size for value in (2.0, 0.5, 0.25)]}]
    sets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": sets}]
    assert io.read(tmp_path / "a.zarr").spacing == pytest.approx((2.0, 0.5, 0.25))


@pytest.mark.parametrize(
    ("sizes", "unit", "words"),
    [
        ((1, 0.00005, 0.00005), "um", "50 times as long as wide"),
        ((51, 1, 1), "um", "50 times as long as wide"),
        ((1, 1, 51), "", "50 times as long as wide"),
        ((0.0009, 0.0009, 0.0009), "um", "below a nanometre"),
        ((11, 11, 11), "mm", "above a centimetre"),
    ],
)
def test_voxels_that_cannot_be_are_refused_and_spacing_is_the_way_out(tmp_path, sizes, unit, words):
    path = tmp_path / "a.tif"
    _imagej(path, {"unit": unit or "pixel", "spacing": sizes[0]}, (1 / sizes[2], 1 / sizes[1]))
    with pytest.raises(ValueError, match=words) as refused:
        io.read(path)
    assert str(path) in str(refused.value)
    assert "spacing=" in str(refused.value)
    found = io.read(path, spacing=(2, 1, 1))
    assert (found.spacing, found.unit) == ((2, 1, 1), "um")
    assert io.read_labels(path).spacing is None


@pytest.mark.parametrize("sizes", [(50, 1, 1), (0.001, 0.001, 0.001), (10, 10, 10), (0.3, 0.1, 0.1)])
def test_voxels_at_the_bounds_are_taken(tmp_path, sizes):
    unit = "mm" if sizes[0] == 10 else "um"
    _imagej(tmp_path / "a.tif", {"unit": unit, "spacing": sizes[0]}, (1 / sizes[2], 1 / sizes[1]))
    assert io.read(tmp_path / "a.tif").spacing is not None


@pytest.mark.parametrize("value", [0, float("inf"), float("nan"), "wide", None])
def test_sizes_that_are_no_numbers_are_none(value):
    assert rules.voxel_size({"z": value, "y": 1, "x": 1}, dict.fromkeys("zyx", "um"), "a") == (None, "")


@pytest.mark.parametrize("name", ["element_size_um", "spacing"])
@pytest.mark.parametrize(
    "sizes", [[1.0, 2.0, 3.0, 4.0], [1.0], 0.5, "0.5", ["a", "b", "c"], [[1.0, 2.0, 3.0]]]
)
def test_an_attribute_of_hdf5_that_is_not_three_numbers_is_no_voxel_size(tmp_path, name, sizes):
    h5py = pytest.importorskip("h5py")
    volume = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = volume
        file["raw"].attrs[name] = sizes
    found = io.read(tmp_path / "a.h5")
    assert np.array_equal(found.array, volume)
    assert found.spacing is None
    assert io.read(tmp_path / "a.h5", spacing=(3, 2, 1)).spacing == (3, 2, 1)
