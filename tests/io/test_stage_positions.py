"""Stage positions of OME-TIFF planes: the place of the volume, kept in labels of every format that can hold it."""

from xml.etree import ElementTree

import nibabel
import numpy as np
import pytest
import tifffile

from anystar_torch import io

VOLUME = np.random.default_rng(0).integers(0, 900, (2, 4, 5, 6)).astype(np.uint16)  # C Z Y X
SIZES = {"PhysicalSizeZ": 2.0, "PhysicalSizeY": 500.0, "PhysicalSizeX": 0.25, "PhysicalSizeYUnit": "nm"}
EXPECTED = np.array([[0.25, 0, 0, 30], [0, 0.5, 0, 20], [0, 0, 2, 10], [0, 0, 0, 1000]]) / 1000


def _image(path, x=30.0, y=20.0, heights=(10.0, 12.0, 14.0, 16.0), unit="µm", sizes=SIZES):
    planes = {"PositionX": [x] * 8, "PositionY": [y] * 8, "PositionZ": list(heights) * 2}
    if unit:
        planes |= {f"{name}Unit": [unit] * 8 for name in planes}
    metadata = {"axes": "CZYX", **sizes, "Plane": planes}
    tifffile.imwrite(path, VOLUME, ome=True, metadata=metadata, photometric="minisblack")
    return path


def _positions(path):
    with tifffile.TiffFile(path) as file:
        planes = [e for e in ElementTree.fromstring(file.ome_metadata).iter() if e.tag.endswith("Plane")]
    assert {plane.get("PositionXUnit") for plane in planes} <= {"µm"}
    return [[float(plane.get(f"Position{axis}")) for axis in "XYZ"] for plane in planes]


def test_the_stage_position_is_the_place_of_the_volume(tmp_path):
    found = io.read(_image(tmp_path / "a.ome.tif"), channel=1)
    np.testing.assert_allclose(found.affine, EXPECTED, rtol=1e-9)
    assert found.spacing == (2, 0.5, 0.25)
    labels = VOLUME[1] % 5
    io.write(tmp_path / "b.ome.tif", labels, found)
    np.testing.assert_allclose(_positions(tmp_path / "b.ome.tif"), [[30, 20, z] for z in (10, 12, 14, 16)])
    again = io.read_labels(tmp_path / "b.ome.tif")
    assert np.array_equal(again.array, labels)
    np.testing.assert_allclose(again.affine, EXPECTED, rtol=1e-9)
    io.write(tmp_path / "b.nii.gz", labels, found)
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii.gz").affine, EXPECTED, rtol=1e-6)
    io.write(tmp_path / "c.ome.tif", labels, io.read(tmp_path / "b.nii.gz"))
    np.testing.assert_allclose(_positions(tmp_path / "c.ome.tif")[0], [30, 20, 10], rtol=1e-6)


def test_a_stage_that_moves_down_gives_a_negative_step(tmp_path):
    found = io.read(_image(tmp_path / "a.ome.tif", heights=(16.0, 14.0, 12.0, 10.0)), channel=0)
    down = EXPECTED.copy()
    down[2, 2:] = -2e-3, 16e-3
    np.testing.assert_allclose(found.affine, down, rtol=1e-9)
    series = np.stack([VOLUME[0] % 5] * 2)
    io.write(tmp_path / "b.ome.tif", series, found)
    np.testing.assert_allclose(
        _positions(tmp_path / "b.ome.tif"), [[30, 20, z] for z in (16, 14, 12, 10)] * 2
    )
    up = io.read(_image(tmp_path / "c.ome.tif"), channel=0)
    assert np.array_equal(
        io.reoriented(io.read_labels(tmp_path / "b.ome.tif", frame=0), like=up).array, VOLUME[0, ::-1] % 5
    )


@pytest.mark.parametrize(
    "options",
    [{"unit": None}, {"x": 0.0, "y": 0.0}, {"sizes": {}}, {"unit": "reference frame"}],
    ids=["no unit", "no stage", "no voxel size", "reference frame"],
)
def test_positions_that_say_no_place_give_none(tmp_path, options):
    found = io.read(_image(tmp_path / "a.ome.tif", **options), channel=0)
    assert found.affine is None
    io.write(tmp_path / "b.ome.tif", VOLUME[0] % 5, found)
    assert _positions(tmp_path / "b.ome.tif") == []


def test_an_oblique_place_is_not_written_as_a_stage_position(tmp_path):
    turned = EXPECTED[[1, 0, 2, 3]]
    io.write(
        tmp_path / "b.ome.tif",
        VOLUME[0] % 5,
        io.SpatialImage(VOLUME[0], (2.0, 0.5, 0.25), "um", affine=turned),
    )
    assert _positions(tmp_path / "b.ome.tif") == []
    assert io.read(tmp_path / "b.ome.tif").affine is None
