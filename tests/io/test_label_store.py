"""Labels as OME-Zarr: shards, metadata, and what is there before they are finished."""

import itertools
import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.location import Files
from anystar_torch.io.placement import Placement

zarr = pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")

PLACE = Placement((2.0, 0.5, 0.5), ("micrometer",) * 3, (10.0, 20.0, 30.0))
RECORD = io.RunRecord(objects=9)
SMALL = {"shard": (8, 16, 16), "chunk": (4, 8, 8)}


def blocky(shape, ids=5, dtype=np.uint32, seed=0):
    """Labels in blocks of three voxels."""
    labels = np.random.default_rng(seed).integers(0, ids, [(size + 2) // 3 for size in shape])
    for axis in range(len(shape)):
        labels = labels.repeat(3, axis)
    return labels[tuple(map(slice, shape))].astype(dtype)


def fill(store, labels):
    for level in range(len(store.levels)):
        for box in store.shards(level):
            store.downsample(level, box) if level else store.write(0, box, labels[box])
    return store.finish(RECORD)


def validate(path, version="0.5"):
    """Check a label image with two libraries; warnings are errors."""
    import yaozarrs
    from ome_zarr_models.v05.image_label import ImageLabel

    yaozarrs.validate_zarr_store(str(path))
    if version == "0.5":
        ImageLabel.from_zarr(zarr.open_group(path, mode="r"))


@pytest.mark.long
@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.int64])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (16, 33, 65), (2, 17, 16, 31)])
def test_every_voxel_comes_back(tmp_path, shape, dtype):
    labels = blocky(shape, np.iinfo(dtype).max, dtype)
    store = io.LabelStore.create(tmp_path / "a.ome.zarr", shape, placement=PLACE, dtype=dtype, **SMALL)
    path = fill(pickle.loads(pickle.dumps(store)), labels)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert not list(path.rglob("*.partial")) + list(path.rglob("anystar*"))
    stored = zarr.open_array(path / "0", mode="r")
    assert stored.dtype == dtype
    assert np.array_equal(stored[...], labels)
    assert io.read_record(path) == RECORD
    back = io.open_volume(path, frame=0)
    assert (back.spacing, back.unit, back.placement.translation) == ((2.0, 0.5, 0.5), "um", (10, 20, 30))
    validate(path)


def test_shards_of_every_small_size_cover_each_voxel_once(tmp_path):
    for sizes in itertools.product((1, 2, 3, 4, 5, 8, 9), repeat=2):
        store = io.LabelStore.create(tmp_path / "a.zarr", (*sizes, 6), shard=(4, 3, 5), chunk=(2, 3, 5))
        for level, one in enumerate(store.levels):
            count = np.zeros(one.shape, int)
            for box in store.shards(level):
                count[box] += 1
            assert (count == 1).all()
            assert all(s % c == 0 for s, c in zip(one.shard, one.chunk, strict=True))
        store.discard()
    assert not list(tmp_path.iterdir())


def _write(store, labels, box):
    store.write(0, box, labels[box])


@pytest.mark.long
@pytest.mark.filterwarnings(
    "ignore:.*use of fork"
)  # a new interpreter would take seconds to import everything
@pytest.mark.parametrize("pool", ["threads", "processes"])
def test_four_writers_lose_no_voxel(tmp_path, pool):
    shape = (37, 50, 61)
    labels = np.arange(1, np.prod(shape) + 1, dtype=np.uint32).reshape(shape)  # every voxel is its own object
    store = io.LabelStore.create(tmp_path / "a.ome.zarr", shape, shard=(16, 16, 16), chunk=(8, 8, 8))
    if pool == "processes" and "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("this system cannot fork")
    if pool == "threads":
        workers = ThreadPoolExecutor(4)
    else:
        workers = ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork"))
    with workers as running:
        list(running.map(partial(_write, store, labels), reversed(store.shards())))
    assert np.array_equal(zarr.open_array(store.finish() / "0", mode="r")[...], labels)


@pytest.mark.parametrize(
    "box",
    [
        np.s_[0:16, 0:16, 0:8],  # half a shard
        np.s_[8:24, 0:16, 0:16],  # parts of two shards
        np.s_[0:32, 0:16, 0:16],  # two shards
        np.s_[0:16, 0:16, 32:48],  # beyond the end
        np.s_[:, :, :],
        np.s_[0:16, 0:16],
    ],
)
def test_a_box_that_is_not_one_shard_is_refused(tmp_path, box):
    store = io.LabelStore.create(tmp_path / "a.ome.zarr", (40, 40, 40), shard=(16, 16, 16), chunk=(8, 8, 8))
    with pytest.raises(ValueError, match="one whole shard"):
        store.write(0, box, np.ones((16, 16, 16), np.uint32))
    with pytest.raises(ValueError, match=r"must have shape \(16, 16, 8\), got \(16, 16, 16\)"):
        store.write(0, np.s_[0:16, 0:16, 32:40], np.ones((16, 16, 16), np.uint32))


def test_ids_that_do_not_fit_are_refused(tmp_path):
    store = io.LabelStore.create(tmp_path / "a.zarr", (2, 2, 2), dtype=np.uint16)
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match=f"0 to 65535 for uint16, got {wrong}"):
            store.write(0, np.s_[0:2, 0:2, 0:2], np.full((2, 2, 2), wrong))


def test_a_second_write_ends_in_the_same_bytes(tmp_path):
    labels, other = (blocky((20, 20, 20), seed=seed) for seed in (0, 1))
    stores = [
        io.LabelStore.create(tmp_path / name, labels.shape, shard=(16, 16, 16), chunk=(8, 8, 8))
        for name in ("a.zarr", "b.zarr")
    ]
    for box in stores[0].shards():
        stores[0].write(0, box, labels[box])
        stores[1].write(0, box, other[box])
        stores[1].write(0, box, np.zeros_like(labels[box]))
        stores[1].write(0, box, labels[box])
    first, second = (
        {file.relative_to(path): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        for path in (store.finish(RECORD) for store in stores)
    )
    assert first == second


def test_unfinished_labels_are_no_volume_for_any_reader(tmp_path):
    target = tmp_path / "a.ome.zarr"
    labels = blocky((20, 20, 20))
    store = io.LabelStore.create(target, labels.shape, **SMALL)
    for box in store.shards()[:3]:
        store.write(0, box, labels[box])
    assert not target.exists()
    for path, refusal in ((store.place, "is not finished: run"), (store.place / "0", "neither Zarr nor N5")):
        with pytest.raises(ValueError, match=refusal):
            io.read(path)
        with pytest.raises((FileNotFoundError, KeyError)):
            zarr.open(path, mode="r")
    again = io.LabelStore.create(target, labels.shape, **SMALL)  # continues
    assert np.array_equal(again.read(0, again.shards()[0]), labels[again.shards()[0]])
    with pytest.raises(ValueError, match="unfinished labels of another size"):
        io.LabelStore.create(target, (21, 20, 20), **SMALL)
    fill(again, labels)
    assert np.array_equal(io.read_labels(target).array, labels)


def test_finished_labels_are_refused_or_stay_until_the_new_ones_are_finished(tmp_path):
    target = tmp_path / "a.ome.zarr"
    old, new = blocky((9, 9, 9)), blocky((9, 9, 9), seed=1)
    fill(io.LabelStore.create(target, old.shape), old)
    with pytest.raises(ValueError, match="exists; overwrite it"):
        io.LabelStore.create(target, old.shape)
    store = io.LabelStore.create(target, new.shape, overwrite=True)
    assert np.array_equal(io.read_labels(target).array, old)
    fill(store, new)
    assert np.array_equal(io.read_labels(target).array, new)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]


def test_labels_of_another_run_are_forgotten_or_replaced(tmp_path):
    target = tmp_path / "a.ome.zarr"
    store = io.LabelStore.create(target, (9, 9, 9))
    store.write(0, store.shards()[0], np.ones((9, 9, 9), np.uint32))
    assert io.LabelStore.is_begun(target)
    io.LabelStore.forget(target)
    assert not io.LabelStore.is_begun(target)
    assert not list(tmp_path.iterdir())
    store = io.LabelStore.create(target, (9, 9, 9))
    store.write(0, store.shards()[0], np.ones((9, 9, 9), np.uint32))
    with pytest.raises(ValueError, match="remove or overwrite it"):
        io.LabelStore.create(target, (9, 9, 9), dtype=np.uint16)
    new = io.LabelStore.create(target, (9, 9, 9), dtype=np.uint16, overwrite=True)
    assert not io.read_labels(new.finish()).array.any()
    io.LabelStore.forget(target)  # finished ones stay
    assert io.read_labels(target).array.shape == (9, 9, 9)


@pytest.mark.parametrize("at", ["metadata", "renamed aside", "renamed"])
def test_a_run_that_is_killed_while_it_finishes_is_continued(tmp_path, monkeypatch, at):
    target = tmp_path / "a.ome.zarr"
    old, labels = blocky((9, 9, 9)), blocky((9, 9, 9), seed=1)
    fill(io.LabelStore.create(target, old.shape), old)
    store = io.LabelStore.create(target, labels.shape, overwrite=True)
    store.write(0, store.shards()[0], labels)
    replace, calls = os.replace, []

    def killed(source, to):
        calls.append(to)
        if at == "metadata" or (at == "renamed aside" and len(calls) == 2):
            raise KeyboardInterrupt
        replace(source, to)

    with monkeypatch.context() as patch:
        patch.setattr("anystar_torch.io.atomic.os.replace", killed)
        if at == "renamed":
            patch.setattr(Files, "remove", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            store.finish(RECORD)
    if at == "renamed":
        with pytest.raises(ValueError, match="exists"):
            io.LabelStore.create(target, labels.shape)
        assert not io.LabelStore.is_begun(target)
    else:
        assert np.array_equal(io.read_labels(target).array, old)  # the exchange of both names is taken back
        io.LabelStore.create(target, labels.shape, overwrite=True).finish(RECORD)
    assert np.array_equal(io.read_labels(target).array, labels)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert not list(target.rglob("anystar*"))


def test_a_folder_with_other_content_is_never_replaced(tmp_path):
    (tmp_path / "a.ome.zarr").mkdir()
    (tmp_path / "a.ome.zarr" / "thesis.tex").write_text("x")
    with pytest.raises(ValueError, match="other content"):
        io.LabelStore.create(tmp_path / "a.ome.zarr", (9, 9, 9), overwrite=True)
    with pytest.raises(ValueError, match="there is no folder"):
        io.LabelStore.create(tmp_path / "none" / "a.ome.zarr", (9, 9, 9))


def test_what_would_be_refused_can_be_refused_before_the_work(tmp_path):
    zarr.create_array(tmp_path / "plain.zarr", shape=(9, 9, 9), dtype="u1")
    refused = {
        "exists; overwrite it": tmp_path / "plain.zarr",
        "there is no folder": tmp_path / "none" / "a.ome.zarr",
        "is no OME-Zarr image": io.Inside(tmp_path / "plain.zarr", "nuclei"),
        "a web server is only read": "https://127.0.0.1/a.ome.zarr",
    }
    for refusal, target in refused.items():
        with pytest.raises(ValueError, match=refusal):
            io.LabelStore.check(target)
    io.LabelStore.check(tmp_path / "plain.zarr", overwrite=True)
    io.LabelStore.check(tmp_path / "new.ome.zarr")
    assert [entry.name for entry in tmp_path.iterdir()] == ["plain.zarr"]


def test_small_shards_have_small_chunks(tmp_path):
    store = io.LabelStore.create(tmp_path / "a.ome.zarr", (40, 90, 90), shard=(16, 32, 128))
    assert store.levels[0].shard == (16, 32, 128)
    assert store.levels[0].chunk == (16, 32, 64)


def test_what_a_killed_process_left_is_removed(tmp_path):
    store = io.LabelStore.create(tmp_path / "a.ome.zarr", (9, 9, 9))
    store.write(0, store.shards()[0], blocky((9, 9, 9)))
    (store.place / "0" / "c" / "0" / "0" / "0.f00.partial").write_bytes(b"half")
    path = store.finish()
    assert not list(path.rglob("*.partial"))
