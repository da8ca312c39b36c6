"""Files and folders are there whole or not at all."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from tests.io.conftest import SHAPE


def test_an_interrupted_write_leaves_nothing(tmp_path):
    target = tmp_path / "labels.tif"
    target.write_bytes(b"before")

    def interrupted():
        with io.atomic_write(target) as temporary:
            temporary.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(ValueError, match="exists; overwrite it"), io.atomic_write(target, overwrite=False):
        pass
    with pytest.raises(ValueError, match="there is no folder"), io.atomic_write(tmp_path / "no" / "a.tif"):
        pass


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    target = tmp_path / "labels.zarr"
    target.mkdir()
    (target / "before").touch()
    replace = os.replace

    def busy(source, to):
        if (Path(source) / "after").exists():
            raise OSError(16, "Device or resource busy")
        replace(source, to)

    def replaced():
        with io.atomic_write(target) as temporary:
            temporary.mkdir()
            (temporary / "after").touch()

    monkeypatch.setattr(os, "replace", busy)
    with pytest.raises(ValueError, match="busy"):
        replaced()
    assert [p.name for p in target.iterdir()] == ["before"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_one_line_and_no_debris(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    with pytest.raises(ValueError, match=r"cannot write .*: No space left on device"):
        io.write(tmp_path / "a.tif", np.ones(SHAPE, int), io.SpatialImage(np.ones(SHAPE)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "words"), [(OSError(28, "No space"), "No space"), (OSError("9 of 10"), "9 of 10; .*full")]
)
def test_an_error_without_a_reason_of_the_system_names_the_usual_one(tmp_path, error, words):
    """NumPy counts the items it could write, and says no more."""
    with (
        pytest.raises(ValueError, match=f"cannot write .*a.npy: {words}"),
        io.atomic_write(tmp_path / "a.npy"),
    ):
        raise error


WRITES = """
import resource, signal, sys
import numpy as np
from anystar_torch import io
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
labels = np.random.default_rng(0).integers(0, 60000, (20, 100, 100))
resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))
try:
    io.write("a" + sys.argv[1], labels, io.SpatialImage(labels, (1.0, 1.0, 1.0), "um"))
except ValueError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
@pytest.mark.parametrize("ending", [".h5", ".npy"])
def test_the_process_survives_a_full_disk(tmp_path, ending):
    """HDF5 ends the process with a segmentation fault where it cannot write."""
    pytest.importorskip("h5py")
    environment = {**os.environ, "PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", WRITES, ending]
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith(f"cannot write a{ending}: ")
    assert len(done.stdout.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems count letters, not bytes")
@pytest.mark.parametrize("letter", ["a", "\u00fc", "\u8a9e"])
@pytest.mark.parametrize("ending", [".tif", ".ome.tif", ".nii.gz", ".nrrd", ".npy", ".npz", ".zarr", ".h5"])
def test_the_longest_name_is_written_and_a_longer_one_is_refused_before_the_work(tmp_path, ending, letter):
    labels = np.ones(SHAPE, int)
    room = 255 - len(ending) - (5 if ending in (".npy", ".npz") else 0)  # a file beside it ends in .json
    stem = letter * (room // len(letter.encode()))
    longest = tmp_path / f"{stem}{ending}"
    io.check_target(longest, overwrite=False)
    assert not list(tmp_path.iterdir())
    io.write(longest, labels, io.SpatialImage(labels), io.RunRecord())
    assert np.array_equal(io.read_labels(longest).array, labels)
    with pytest.raises(ValueError, match=r"cannot write .*: File name too long"):
        io.check_target(tmp_path / f"{stem}{letter}{ending}", overwrite=False)


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can take another user's place"
)
def test_a_folder_that_nothing_can_be_written_to_is_refused_before_the_work():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        os.seteuid(65534)
        try:
            with pytest.raises(ValueError, match=r"cannot write .*a\.tif: Permission denied"):
                io.check_target(Path(folder) / "a.tif", overwrite=False)
        finally:
            os.seteuid(0)
    with pytest.raises(ValueError, match=r"cannot write /proc/a\.tif"):
        io.check_target(Path("/proc/a.tif"), overwrite=False)
