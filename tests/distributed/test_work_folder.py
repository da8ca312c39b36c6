"""Files of the work folder: complete or absent, checked against the checksum in their name."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from anystar_torch.distributed import predict
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.io import LabelStore
from tests.distributed.cases import small_model

ARRAYS = {
    "scores": np.linspace(0, 1, 5, dtype=np.float32),
    "distances": np.arange(10, dtype=np.float16).reshape(5, 2),
    "states": np.array([1, 0, 2], np.uint8),
    "nothing": np.empty((0, 3), np.float32),
    "ids": np.array([1 << 40], np.int64),
}


def test_arrays_and_facts_come_back_and_safetensors_reads_the_file(tmp_path):
    work = WorkFolder(tmp_path)
    item = work.write("stage", "0-1-2", ARRAYS, {"count": 5, "box": None})
    read, other = work.read(item), load_file(tmp_path / "stage" / item.file)
    for name, expected in ARRAYS.items():
        for found in (read[name], other[name]):
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)
    work.check(item)
    assert work.found("stage") == {"0-1-2": item}
    assert work.complete("stage") is None
    work.close("stage", [item])
    assert work.complete("stage") == {"0-1-2": item}


def test_the_same_content_has_the_same_name_and_another_one_does_not(tmp_path):
    work = WorkFolder(tmp_path)
    first, again = (work.write("stage", "a", ARRAYS) for _ in range(2))
    other = work.write("stage", "a", ARRAYS | {"states": np.zeros(3, np.uint8)})
    assert first == again != other
    assert len(list((tmp_path / "stage").iterdir())) == 2


def test_damage_is_found_and_the_file_is_removed(tmp_path):
    work = WorkFolder(tmp_path)
    item = work.write("stage", "a", ARRAYS)
    work.close("stage", [item])
    path = tmp_path / "stage" / item.file
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    with pytest.raises(ValueError, match="was damaged or missing"):
        work.check(item)
    assert not path.exists()
    assert work.repair()
    assert work.complete("stage") is None
    with pytest.raises(ValueError, match="was damaged or missing"):
        work.read(item)


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("anystar_torch.distributed.work_folder.os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        WorkFolder(tmp_path).write("stage", "a", ARRAYS)
    assert list((tmp_path / "stage").iterdir()) == []


def test_stages_are_forgotten_with_those_that_begin_with_their_name(tmp_path):
    work = WorkFolder(tmp_path)
    for stage in ("labels", "pyramid.1", "plan"):
        work.close(stage, [work.write(stage, "a", ARRAYS)])
    work.forget(("labels", "pyramid"))
    assert work.complete("labels") is None
    assert work.found("pyramid.1") == {}
    assert work.complete("plan")


def test_what_a_killed_run_did_not_remove_is_removed_though_its_labels_are_finished(tmp_path):
    target = tmp_path / "labels.ome.zarr"
    LabelStore.create(target, (4, 4, 4)).finish()
    left, other = (
        tmp_path / f".{name}.work.0123abcd.removed" for name in ("labels.ome.zarr", "other.ome.zarr")
    )
    for folder in (left, other):
        (folder / "frame-00000").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"labels\.ome\.zarr exists; overwrite it or choose another name"):
        predict(np.zeros((4, 4, 4), np.uint8), target, model=small_model(), progress=False)
    assert not left.exists()
    assert other.exists()
