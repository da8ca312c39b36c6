"""Files as Windows and macOS see them: other separators, one file for upper and lower case, locks of mapped files."""

import inspect
import os
import sys
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io import files, hdf5, sparing

VOLUME = np.ones((4, 5, 6), np.uint8)


class Resolved(PureWindowsPath):
    """A path of Windows from the root."""

    def resolve(self):
        return self


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("C:/data/scan.ome.zarr", "C:/data/scan.ome.zarr/0"),
        ("C:/data/slices", "C:/data"),
        ("C:/data/scan.tif", "C:/data/scan.tif"),
        ("C:/scan.tif", "C:/"),
    ],
)
def test_what_is_read_is_not_replaced_on_windows(monkeypatch, source, result):
    monkeypatch.setattr(sparing, "container", lambda path: Resolved(path.as_posix()))
    with pytest.raises(ValueError, match="would replace the input"):
        sparing.spare([Path(source)], [Path(result)])
    sparing.spare([Path(source)], [Path("C:/data/scan.labels.tif")])
    sparing.spare([Path("C:/data/scan.ome.zarr")], [Path("C:/data/scan.ome.zarr/labels/nuclei")])


def test_a_dataset_is_named_on_windows(tmp_path):
    split = inspect.unwrap(hdf5.split)  # without the run-time checks, which refuse paths of another system
    (tmp_path / "a.h5").touch()
    assert split(PureWindowsPath("C:/x/a.h5:/vol/raw")) == (Path("C:/x/a.h5"), "vol/raw")
    assert split(PureWindowsPath(f"{tmp_path.as_posix()}/a.h5/vol/raw")) == (tmp_path / "a.h5", "vol/raw")


def test_names_that_differ_in_case_may_be_one_file(tmp_path):
    """A second name of a file stands for a system on which both are one. Two files stay two."""
    (tmp_path / "Nuclei.npy").touch()
    one, other = tmp_path / "nuclei.npy", tmp_path / "NUCLEI.npy"
    np.save(one, VOLUME)
    if not other.exists():
        os.link(one, other)
    with pytest.raises(ValueError, match=r"NUCLEI\.npy would replace the input"):
        io.spare([one], [other])
    with pytest.raises(ValueError, match=r"NUCLEI\.npy would replace the input"):
        io.write(other, VOLUME.astype(np.int32), io.read(one))
    assert np.array_equal(np.load(one), VOLUME)
    if not one.samefile(tmp_path / "Nuclei.npy"):
        io.spare([one], [tmp_path / "Nuclei.npy"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of mapped files")
@pytest.mark.parametrize("ending", [".npy", ".nii", ".tif"])
def test_a_volume_that_was_read_is_not_mapped_where_that_locks_its_file(tmp_path, monkeypatch, ending):
    path = tmp_path / f"a{ending}"
    io.write(path, VOLUME.astype(np.int32), io.SpatialImage(VOLUME), io.RunRecord())
    monkeypatch.setattr(files, "_MAPPED_IS_LOCKED", True)
    labels = io.read_labels(path)
    assert str(path) not in Path("/proc/self/maps").read_text(encoding="utf-8")
    assert np.array_equal(labels.array, VOLUME)
