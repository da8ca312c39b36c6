"""The names of the scenes of a file, each of which reads that scene."""

import numpy as np
import pytest
import tifffile

from anystar_torch import io

IMAGE = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)


def positions(path, names):
    """An OME-TIFF with one scene per name; each is one grey value brighter."""
    with tifffile.TiffWriter(path, ome=True) as file:
        for number, name in enumerate(names):
            file.write(IMAGE + number, metadata={"axes": "ZYX", "Name": name})


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["left", "right"], ("left", "right")),
        (["a", "a", "b"], ("0", "1", "b")),
        (["1", "b"], ("1", "b")),
    ],
)
def test_every_name_reads_its_scene(tmp_path, names, expected):
    path = tmp_path / "a.ome.tif"
    positions(path, names)
    assert io.scenes(path) == expected
    for number, name in enumerate(expected):
        assert np.array_equal(io.read(path, scene=name).array, IMAGE + number)


def test_scenes_that_cannot_be_told_apart_are_refused(tmp_path):
    positions(tmp_path / "a.ome.tif", ["a", "a", "1"])
    with pytest.raises(ValueError, match="equal names, which cannot be told apart"):
        io.scenes(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("name", ["a.ome.tif", "a.tif", "a.npy", "a.nii"])
def test_a_file_of_one_volume_has_no_scenes(tmp_path, name):
    labels = IMAGE.astype(np.int32)
    io.write(tmp_path / name, labels, io.SpatialImage(labels, (1.0, 1.0, 1.0), "um"))
    assert io.scenes(tmp_path / name) == ()


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match="there is no file"):
        io.scenes(tmp_path / "a.ome.tif")
