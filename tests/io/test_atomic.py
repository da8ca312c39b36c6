"""Files and folders are there whole or not at all."""

import os
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
