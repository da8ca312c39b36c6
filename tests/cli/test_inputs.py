"""Which volumes are meant by the files, folders and patterns that a command gets."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from anystar_torch.cli.paths import expand
from tests.cli.conftest import predict, refused, run
from tests.io.test_dicom import write_series

SHAPE = (5, 16, 16)
LABELS = np.zeros(SHAPE, np.uint16)
LABELS[1:3, 2:6, 3:8] = 1
LABELS[2:4, 9:14, 8:12] = 7


def planes(folder, volume=LABELS):
    """A volume as a folder of 2D images."""
    folder.mkdir(parents=True)
    for z, plane in enumerate(volume):
        tifffile.imwrite(folder / f"z{z}.tif", plane)
    return folder


def zarr_array(folder, volume=LABELS):
    """A volume as a Zarr array in a folder without an ending."""
    zarr = pytest.importorskip("zarr")
    array = zarr.open_array(folder, mode="w", shape=volume.shape, chunks=volume.shape, dtype=volume.dtype)
    array[...] = volume


def n5_array(folder, volume=LABELS):
    """A volume as an N5 array in a folder without an ending, in one block without compression."""
    block = folder / "0" / "0"
    block.mkdir(parents=True)
    size = list(volume.shape[::-1])
    about = {"dimensions": size, "blockSize": size, "dataType": "uint16", "compression": {"type": "raw"}}
    (folder / "attributes.json").write_text(json.dumps(about))
    header = np.array([0, 3], ">u2").tobytes() + np.array(size, ">u4").tobytes()
    (block / "0").write_bytes(header + volume.astype(">u2").tobytes())


def ome_set(folder, name="a", volume=LABELS, described="own"):
    """An OME-TIFF with one plane per file.

    Args:
        described: which files describe the set: "own" for each, "first" for the first one, "companion" for another.
    """
    names = [f"{name}_z{z}.ome.tif" for z in range(len(volume))]
    data = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{file}">urn:uuid:{file}</UUID></TiffData>'
        for z, file in enumerate(names)
    )
    depth, height, width = volume.shape
    head = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'
    )
    body = (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="{width}" '
        f'SizeY="{height}" SizeZ="{depth}" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{data}'
        "</Pixels></Image></OME>"
    )
    other = {"own": None, "first": names[0], "companion": f"{name}.companion.ome"}[described]
    if described == "companion":
        (folder / other).write_text(f'{head} UUID="urn:uuid:{other}">{body}')
    for file, plane in zip(names, volume, strict=True):
        only = f'<BinaryOnly MetadataFile="{other}" UUID="urn:uuid:{other}"/></OME>'
        about = f'{head} UUID="urn:uuid:{file}">{body if other in (None, file) else only}'
        with tifffile.TiffWriter(folder / file) as written:
            written.write(plane, metadata=None, description=about)
    return [folder / file for file in names]


def scores(capsys, *words):
    return json.loads(run(capsys, "evaluate", *words, "--json", "--iou-thresh", 0.5))


def test_volumes_that_are_folders_are_scored(capsys, tmp_path):
    true, found = tmp_path / "true", tmp_path / "found"
    for folder, word in ((true, ""), (found, ".labels")):
        planes(folder / f"2024.05.01{word}")
        planes(folder / "inner" / f"planes{word}")
        zarr_array(folder / f"zarr{word}")
        n5_array(folder / f"n5{word}")
        tifffile.imwrite(folder / f"a{word}.tif", LABELS)
    rows = scores(capsys, true, found)
    names = ["a", "2024.05.01", "n5", "zarr", "inner/planes"]
    assert sorted(name for name in rows if name in names) == sorted(names)
    assert all(rows[name][0]["f1"] == 1 for name in names)
    (found / "n5.labels").rename(tmp_path / "elsewhere")
    assert "has no labels for n5" in refused(capsys, "evaluate", true, found)


def test_a_dicom_folder_is_scored(capsys, tmp_path):
    true, found = tmp_path / "true", tmp_path / "found"
    true.mkdir()
    found.mkdir()
    write_series(true / "scan", LABELS)
    tifffile.imwrite(found / "scan.labels.tif", LABELS)
    assert scores(capsys, true, found)["scan"][0]["f1"] == 1


def test_labels_beside_folders_of_planes_are_what_is_scored(capsys, tmp_path):
    data = tmp_path / "data"
    planes(data / "a", LABELS * 1000)
    planes(data / "a.labels")
    planes(tmp_path / "true" / "a")
    assert scores(capsys, tmp_path / "true", data)["a"][0]["f1"] == 1


def test_a_folder_and_a_file_of_one_name_are_refused(capsys, tmp_path):
    planes(tmp_path / "true" / "a")
    tifffile.imwrite(tmp_path / "true" / "a.tif", LABELS)
    assert "both called a" in refused(capsys, "evaluate", tmp_path / "true", tmp_path / "true")


def test_volumes_of_a_folder_may_be_folders(tmp_path):
    planes(tmp_path / "z10")
    planes(tmp_path / "z9")
    planes(tmp_path / "z9.labels")
    planes(tmp_path / ".hidden")
    zarr_array(tmp_path / "store")
    write_series(tmp_path / "scan", LABELS)
    tifffile.imwrite(tmp_path / "a.tif", LABELS)
    (tmp_path / "more").mkdir()
    tifffile.imwrite(tmp_path / "more" / "b.tif", LABELS)
    assert [path.name for path in expand([str(tmp_path)])] == ["a.tif", "scan", "store", "z9", "z10"]


def test_names_with_brackets_are_names(tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for folder in ("exp[1]", "exp1", "exp2"):
        Path(folder).mkdir()
        tifffile.imwrite(f"{folder}/a.tif", LABELS)
    for name in ("exp[1]/v.h5", "v[2].h5"):
        Path(name).write_bytes(b"which is not read here")
        for text in (f"{name}:/raw", f"{name}/raw", f"{here}/{name}:/raw"):
            assert expand([text]) == [Path(text)]
    assert expand(["exp[1]/a.tif"]) == [Path("exp[1]/a.tif")]
    assert expand(["exp[1]/*.tif"]) == [Path("exp[1]/a.tif")]
    assert expand([f"{here}/exp[1]/*.tif"]) == [here / "exp[1]" / "a.tif"]
    assert expand(["../*/exp[1]/*.tif"]) == [Path("../here/exp1/a.tif")], "a pattern"
    assert expand(["exp[12]/*.tif"]) == [Path("exp1/a.tif"), Path("exp2/a.tif")]
    assert expand(["./**/a.tif"]) == [Path("exp1/a.tif"), Path("exp2/a.tif"), Path("exp[1]/a.tif")]
    assert expand([f"exp?{os.sep}"]) == [Path("exp1"), Path("exp2")]
    with pytest.raises(ValueError, match=r"no file matches exp\[1\]/\*\.nii"):
        expand(["exp[1]/*.nii"])


@pytest.mark.parametrize("described", ["own", "first", "companion"])
def test_an_ome_tiff_of_several_files_is_one_volume(tmp_path, monkeypatch, described):
    files = ome_set(tmp_path, "a", described=described)
    ome_set(tmp_path, "b", described=described)
    tifffile.imwrite(tmp_path / "c.ome.tif", LABELS, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "d.tif", LABELS)
    (tmp_path / "broken.ome.tif").write_bytes(b"II*\0no tiff")
    expected = ["a_z0.ome.tif", "b_z0.ome.tif", "broken.ome.tif", "c.ome.tif", "d.tif"]
    assert np.array_equal(io.read(files[0]).array, LABELS)
    assert [path.name for path in expand([str(tmp_path)])] == expected
    assert [path.name for path in expand([str(tmp_path / "*.tif")])] == expected
    assert expand([*map(str, files)]) == files[:1], "as a shell gives a pattern"
    assert expand([str(files[2])]) == files[2:3]
    monkeypatch.chdir(tmp_path)
    assert expand(["a_z1.ome.tif", str(files[0])]) == [Path("a_z1.ome.tif")]


def test_a_renamed_ome_tiff_does_not_hide_another_file(tmp_path):
    """Its description names the file by the earlier name, which another file has now."""
    set_ = ome_set(tmp_path, "b", LABELS[:1])
    (tmp_path / "a.ome.tif").write_bytes(set_[0].read_bytes())
    assert [path.name for path in expand([str(tmp_path / "*.tif")])] == ["a.ome.tif", "b_z0.ome.tif"]


def test_a_set_of_files_is_scored_once(capsys, tmp_path):
    (tmp_path / "true").mkdir()
    (tmp_path / "found").mkdir()
    ome_set(tmp_path / "true")
    tifffile.imwrite(tmp_path / "found" / "a_z0.labels.ome.tif", LABELS, metadata={"axes": "ZYX"})
    assert list(scores(capsys, tmp_path / "true", tmp_path / "found")) == ["a_z0"]


@pytest.mark.long
def test_a_folder_of_folders_is_predicted_and_scored(capsys, volume, model, tmp_path):
    data = tmp_path / "data"
    planes(data / "a", tifffile.imread(volume))
    planes(tmp_path / "true" / "a", tifffile.imread(tmp_path / "truth.tif"))
    predict(capsys, data, "--spacing", 0.5, 0.5, 0.5, "--diameter", 13)
    assert scores(capsys, tmp_path / "true", data)["a"][0]["f1"] > 0.9
