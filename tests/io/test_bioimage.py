"""Microscope formats through bioio, tested on CZI files that are written here."""

import sys
from pathlib import Path

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.bioimage import scene_number

SERIES = np.random.default_rng(0).integers(0, 60000, (2, 3, 5, 16, 32)).astype(np.uint16)  # T C Z Y X


def write_czi(path, series=SERIES, scenes=1):
    """A CZI file, T C Z Y X; every scene is one grey value brighter."""
    pytest.importorskip("bioio_czi")
    writer = pytest.importorskip("pylibCZIrw").czi
    with writer.create_czi(str(path)) as file:
        for scene in range(scenes):
            for t, c, z in np.ndindex(series.shape[:3]):
                plane = series[t, c, z][..., None] + np.uint16(scene)
                file.write(plane, plane={"T": t, "C": c, "Z": z}, scene=scene, location=(100 * scene, 0))
        file.write_metadata(document_name="a", scale_x=0.25e-6, scale_y=0.5e-6, scale_z=2e-6)
    return path


@pytest.mark.filterwarnings("ignore")  # of bioio's libraries, about themselves
def test_a_czi_is_read_with_its_axes_and_voxel_size(tmp_path):
    path = write_czi(tmp_path / "a.czi")
    assert io.frames(path) == 2
    for frame in range(2):
        for channel in range(3):
            found = io.read(path, frame=frame, channel=channel)
            assert np.array_equal(found.array, SERIES[frame, channel])
            assert (found.spacing, found.unit) == (pytest.approx((2.0, 0.5, 0.25)), "um")
    with pytest.raises(ValueError, match="3 channels"):
        io.read(path, frame=0)


@pytest.mark.filterwarnings("ignore")
def test_scenes_of_a_czi_that_its_metadata_do_not_describe_are_not_dropped(tmp_path):
    path = write_czi(tmp_path / "a.czi", scenes=2)
    with pytest.raises(ValueError, match=r"a\.czi holds 2 scenes, and its metadata describe 1"):
        io.read(path, frame=0, channel=0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", [".czi", ".lif", ".nd2", ".oir"])
def test_what_is_no_microscope_file_is_one_line(tmp_path, ending):
    pytest.importorskip("bioio")
    path = tmp_path / f"a{ending}"
    path.write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(ValueError, match=f"a{ending}") as refused:
        io.read(path)
    assert len(str(refused.value).splitlines()) == 1


def test_without_the_extra_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "bioio", None)
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE")
    with pytest.raises(ImportError, match=r"pip install 'anystar_torch\[formats\]'"):
        io.read(tmp_path / "a.czi")


def test_labels_of_microscope_files_are_ome_tiffs(tmp_path):
    assert io.beside(Path("x/a.czi")) == Path("x/a.labels.ome.tif")
    with pytest.raises(ValueError, match=r"\.czi is only read; name it \.ome\.tif"):
        io.writer(tmp_path / "b.czi", None)


@pytest.mark.parametrize(("scene", "number"), [("b", 1), ("2", 2), ("0", 0), ("1", 1)])
def test_scenes_by_name_and_number(scene, number):
    assert scene_number(scene, ["a", "b", "c"], Path("x")) == number
