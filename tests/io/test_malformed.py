"""Files as they should not be: each ends in one line that names the file, and in exit status 2 on the command line."""

import contextlib
import gzip
import io as streams
import os
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile

from anystar_torch import io
from anystar_torch.cli import main
from anystar_torch.network import loading
from tests.inference.scenes import Sees, config

VOLUME = np.arange(5 * 6 * 7, dtype=np.uint16).reshape(5, 6, 7)


def _good(tmp_path, ending):
    path = tmp_path / f"good{ending}"
    if ending in (".tif", ".ome.tif"):
        tifffile.imwrite(path, VOLUME, ome=ending == ".ome.tif", metadata={"axes": "ZYX"})
    elif ending in (".nii", ".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(VOLUME.transpose(2, 1, 0), np.eye(4)), path)
    elif ending in (".nrrd", ".mha"):
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOLUME), str(path))
    elif ending == ".npy":
        np.save(path, VOLUME)
    else:
        np.savez_compressed(path, VOLUME)
    return path.read_bytes()


ENDINGS = [".tif", ".ome.tif", ".nii", ".nii.gz", ".nrrd", ".mha", ".npy", ".npz"]
DAMAGE = {
    "empty": lambda good: b"",
    "one byte": lambda good: good[:1],
    "first 16 bytes": lambda good: good[:16],
    "header only": lambda good: good[: len(good) // 4],
    "half": lambda good: good[: len(good) // 2],
    "zeros": lambda good: bytes(len(good)),
    "text": lambda good: b"this is no volume\n" * 20,
    "noise": lambda good: np.random.default_rng(0).bytes(len(good)),
    "beheaded": lambda good: good[20:],
}


@pytest.mark.long
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("ending", ENDINGS)
def test_damaged_files(tmp_path, ending, damage):
    path = tmp_path / f"damaged{ending}"
    path.write_bytes(DAMAGE[damage](_good(tmp_path, ending)))
    _refused(path)


def _refused(path, words=""):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the line is looked at below
        io.read(path)
    _one_line(str(caught.value), path, words)
    before = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    with contextlib.redirect_stderr(streams.StringIO()) as said, pytest.raises(SystemExit) as ended:
        main(["predict", str(path), "--model", "m", "--device", "cpu"])
    assert ended.value.code == 2
    assert said.getvalue().startswith("anystar: ")
    _one_line(said.getvalue(), path)  # what it says of folders and of frames differs: it takes both
    assert not path.parent.is_dir() or sorted(path.parent.iterdir()) == before


def _one_line(line, path, words=""):
    assert words in line
    assert len(line.splitlines()) == 1, line
    assert path.name in line


@pytest.fixture(autouse=True)
def _network(monkeypatch):
    monkeypatch.setattr(loading, "load_model", lambda path: (Sees().eval(), config()))


def _npy(shape, kind="<u2", data=b""):
    header = repr({"descr": kind, "fortran_order": False, "shape": shape}).encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _nifti(dim, kind=512, magic=b"n+1\0", offset=352.0):
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, *dim)
    struct.pack_into("<hh", header, 70, kind, 16)
    struct.pack_into("<f", header, 108, offset)
    header[344:348] = magic
    return bytes(header)


def _nrrd(**changes):
    fields = {"type": "uint16", "dimension": "3", "sizes": "7 6 5", "encoding": "raw", "endian": "little"}
    text = "NRRD0004\n" + "".join(f"{k}: {v}\n" for k, v in {**fields, **changes}.items() if v)
    return text.encode() + b"\n" + VOLUME.tobytes()


def _mha(**changes):
    fields = {"ObjectType": "Image", "NDims": "3", "DimSize": "7 6 5", "ElementType": "MET_USHORT"}
    lines = {**fields, **changes, "ElementDataFile": changes.get("ElementDataFile", "LOCAL")}
    return "".join(f"{k} = {v}\n" for k, v in lines.items()).encode() + VOLUME.tobytes()


SPECIAL = {
    "huge.npy": (_npy((10**6, 10**6, 10**6)), ""),
    "negative.npy": (_npy((-5, 6, 7), data=VOLUME.tobytes()), ""),
    "objects.npy": (_npy((2, 2, 2), "|O"), ""),
    "complex.npy": (_npy((1, 1, 1), "<c16", bytes(16)), "real number"),
    "none.npy": (_npy((0, 5, 6)), "no voxels"),
    "flat.npy": (_npy((4, 5), data=bytes(40)), "2D image"),
    "six.npy": (_npy((1, 1, 1, 1, 1, 1), data=bytes(2)), ""),
    "huge.nii": (_nifti((3, 32767, 32767, 32767, 1, 1, 1, 1)), "GB of voxels"),
    "negative.nii": (_nifti((3, -4, 5, 6, 1, 1, 1, 1)), ""),
    "kind.nii": (_nifti((3, 4, 5, 6, 1, 1, 1, 1), kind=9999), ""),
    "rgb.nii": (_nifti((3, 4, 5, 6, 1, 1, 1, 1), kind=128) + bytes(400), "one number per voxel"),
    "complex.nii": (_nifti((3, 4, 5, 6, 1, 1, 1, 1), kind=32) + bytes(1000), "one number per voxel"),
    "magic.nii": (_nifti((3, 4, 5, 6, 1, 1, 1, 1), magic=b"xxxx"), ""),
    "flat.nii": (_nifti((2, 4, 5, 1, 1, 1, 1, 1)) + bytes(100), ""),
    "nodata.nii": (_nifti((3, 4, 5, 6, 1, 1, 1, 1)), ""),
    "zipped.nii": (gzip.compress(b"nothing"), ""),
    "unzipped.nii.gz": (_nifti((3, 4, 5, 6, 1, 1, 1, 1)) + bytes(400), ""),
    "sizes.nrrd": (_nrrd(sizes="6 5"), ""),
    "huge.nrrd": (_nrrd(sizes="100000 100000 100000"), "GB of voxels"),
    "type.nrrd": (_nrrd(type="block"), ""),
    "short.nrrd": (_nrrd(sizes="7 6 50"), ""),
    "encoding.nrrd": (_nrrd(encoding="rot13"), ""),
    "detached.nrrd": (_nrrd(**{"data file": "elsewhere.raw"}), ""),
    "huge.mha": (_mha(DimSize="100000 100000 100000"), "GB of voxels"),
    "short.mha": (_mha(DimSize="7 6 50"), ""),
    "dims.mha": (_mha(NDims="9"), ""),
    "detached.mhd": (_mha(ElementDataFile="elsewhere.raw"), ""),
    "vector.mha": (_mha(ElementNumberOfChannels="2", DimSize="7 6 2"), "2 channels"),
    "picture.png": (b"\x89PNG\r\n\x1a\n", "unknown format"),
    "noending": (b"x", "unknown format"),
    "zarr.zarr": (b"a file", "Zarr is a folder"),
    "archive.npz": (b"PK\x05\x06" + bytes(18), ""),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_headers_that_lie(tmp_path, name):
    content, words = SPECIAL[name]
    path = tmp_path / name
    path.write_bytes(content)
    _refused(path, words)


def test_images_that_are_no_volume(tmp_path):
    tifffile.imwrite(tmp_path / "flat.tif", VOLUME[0])
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "complex.tif", VOLUME.astype(np.complex64))
    tifffile.imwrite(
        tmp_path / "five.tif", np.zeros((2, 3, 4, 5, 6), np.uint8), imagej=True, metadata={"axes": "TZCYX"}
    )
    tifffile.imwrite(tmp_path / "movie.tif", VOLUME, imagej=True, metadata={"axes": "TYX"})
    np.savez(tmp_path / "two.npz", VOLUME, VOLUME)
    expected = {
        "flat.tif": "2D image",
        "rgb.tif": "2D image",
        "complex.tif": "real number",
        "five.tif": "choose one with",
        "movie.tif": "time series",
        "two.npz": "2 arrays",
    }
    for name, words in expected.items():
        _refused(tmp_path / name, words)


def test_a_tiff_that_declares_more_than_memory_holds(tmp_path):
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, VOLUME, metadata=None)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for name in ("ImageWidth", "ImageLength"):
            tag = file.pages[0].tags[name]
            struct.pack_into("<HI", content, tag.offset + 2, 4, 1)
            struct.pack_into("<I", content, tag.offset + 8, 2**31)
    path.write_bytes(content)
    _refused(path)


def test_folders_missing_files_and_permissions(tmp_path):
    _refused(tmp_path / "nowhere.tif", "there is no file")
    _refused(tmp_path / "nowhere" / "a.tif", "there is no file")
    (tmp_path / "folder.tif").mkdir()
    _refused(tmp_path / "folder.tif", "is a folder")
    (tmp_path / "store.zarr").mkdir()
    (tmp_path / "store.zarr" / "zarr.json").write_text("{}")
    _refused(tmp_path / "store.zarr")
    (tmp_path / "store.zarr" / "zarr.json").write_text("not json")
    _refused(tmp_path / "store.zarr")
    _refused(tmp_path / ("n" * 300 + ".tif"))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_permission_denied(tmp_path):
    path = tmp_path / "secret.npy"
    np.save(path, VOLUME)
    path.chmod(0)
    _refused(path, "may not be read")


def test_permission_denied_as_the_system_says_it(tmp_path, monkeypatch):
    path = tmp_path / "secret.tif"
    tifffile.imwrite(path, VOLUME)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(tifffile, "TiffFile", denied)
    _refused(path, "permission denied")
