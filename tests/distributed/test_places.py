"""What a prediction block by block reads, writes and removes, and whose work it continues."""

import os
import time
from contextlib import suppress

import numpy as np
import pytest
import torch
import zarr

from anystar_torch.cli import main
from anystar_torch.distributed import large, predict
from anystar_torch.distributed.beginning import jobs_of
from anystar_torch.distributed.cluster import local_workers
from anystar_torch.distributed.job import Job
from anystar_torch.distributed.options import LargeOptions
from anystar_torch.distributed.places import discard, work_folder
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.io import Inside, LabelStore, open_volume
from anystar_torch.network import weights
from tests.distributed.cases import OPTIONS, crowd, noise, small_model, stored, write_volume

SHAPE = (40, 48, 60)


@pytest.fixture(scope="module")
def volume():
    return crowd(SHAPE, 30)


class StoppedError(Exception):
    """Ends a prediction before its labels are complete."""


@pytest.fixture
def stopped(monkeypatch):
    """A function that predicts until all labels are written, and no further."""

    def run(*arguments, **options):
        def stop(store, record):
            raise StoppedError

        with monkeypatch.context() as patched:
            patched.setattr(LabelStore, "finish", stop)
            with pytest.raises(StoppedError):
                predict(*arguments, **OPTIONS | options)

    return run


def test_a_given_work_folder_keeps_its_content(tmp_path, network, volume):
    work = tmp_path / "scratch"
    work.mkdir()
    (work / "notes.txt").write_text("mine")
    predict(volume, tmp_path / "labels.ome.zarr", model=network, work=work, **OPTIONS)
    assert [one.name for one in work.iterdir()] == ["notes.txt"]


def test_a_folder_with_other_content_is_not_used_for_results_of_tasks(tmp_path, network, volume):
    place = tmp_path / "labels.ome.zarr.work"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    (place / "settings.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"labels\.ome\.zarr\.work .*holds"):
            predict(volume, tmp_path / "labels.ome.zarr", model=network, overwrite=overwrite, **OPTIONS)
    assert (place / "notes.txt").read_text() == "mine"


def test_the_work_folder_has_the_name_of_the_labels(tmp_path):
    assert work_folder("s3://bucket/a.ome.zarr/", tmp_path) == tmp_path / "a.ome.zarr.work"
    assert work_folder(tmp_path / "a.ome.zarr", None) == tmp_path / "a.ome.zarr.work"
    assert work_folder(Inside(tmp_path / "v.zarr", "n"), None) == tmp_path / "v.zarr" / "labels" / "n.work"


def test_nothing_that_is_read_is_replaced(tmp_path, network, volume):
    source = write_volume(tmp_path / "group" / "v.ome.zarr", volume)
    mask = tmp_path / "mask.npy"
    np.save(mask, np.ones((2, 2, 2), np.uint8))
    for target, options in [
        (source, {}),
        (tmp_path / "group" / ".." / "group" / "v.ome.zarr", {}),
        (tmp_path / "group", {}),
        (source / "0", {}),
        (tmp_path / "l.ome.zarr", {"table": tmp_path / "l.ome.zarr" / "t.csv"}),
        (tmp_path / "l.ome.zarr", {"mask": mask, "table": mask}),
        (tmp_path / "l.ome.zarr", {"table": tmp_path / "l.ome.zarr"}),
    ]:
        with pytest.raises(ValueError, match=r"would replace the input|two results"):
            predict(source, target, model=network, overwrite=True, **OPTIONS | options)
    with pytest.raises(ValueError, match="would replace the input"):
        predict(zarr.open_group(source)["0"], source, model=network, overwrite=True, **OPTIONS)
    assert np.array_equal(open_volume(source)[...], volume)
    assert mask.is_file()


def test_the_command_does_not_replace_its_source(tmp_path, volume, capsys):
    source = write_volume(tmp_path / "v.ome.zarr", volume)
    with pytest.raises(SystemExit):
        main(
            [
                "predict",
                str(source),
                "-o",
                str(source),
                "--overwrite",
                "--range",
                "0",
                "9",
                "--diameter",
                "13",
            ]
        )
    assert "would replace the input" in capsys.readouterr().err
    assert np.array_equal(open_volume(source)[...], volume)


@pytest.mark.long
def test_a_run_that_continues_replaces_its_own_table_alone(tmp_path, network, volume, stopped):
    target, table = tmp_path / "labels.ome.zarr", tmp_path / "mine.csv"
    stopped(volume, target, model=network)
    table.write_text("of another run")
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(volume, target, model=network, table=table, **OPTIONS)
    own = tmp_path / "own.csv"
    stopped(volume, target, model=network, table=own)
    assert own.is_file()
    result = predict(volume, target, model=network, table=own, **OPTIONS)
    assert len(own.read_text().splitlines()) == result.objects + 1
    assert table.read_text() == "of another run"


@pytest.mark.long
def test_what_is_left_of_a_removed_work_folder_is_not_used(tmp_path, network, volume, stopped):
    target, place = tmp_path / "labels.ome.zarr", tmp_path / "labels.ome.zarr.work"
    stopped(volume, target, model=network)
    (place / "settings.json").unlink()  # someone removed a part of the folder
    with pytest.raises(ValueError, match="results of tasks, and not the settings of their run"):
        predict(volume, target, model=network, prob_thresh=0.7, **OPTIONS)
    other = predict(volume, target, model=network, prob_thresh=0.7, overwrite=True, **OPTIONS)
    fresh = predict(volume, tmp_path / "fresh.ome.zarr", model=network, prob_thresh=0.7, **OPTIONS)
    assert np.array_equal(stored(other.target), stored(fresh.target))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fresh.ome.zarr", "labels.ome.zarr"]


@pytest.mark.long
@pytest.mark.parametrize("damage", ["missing", "cut off"])
def test_damaged_objects_are_made_again(tmp_path, network, volume, stopped, damage):
    target = tmp_path / "labels.ome.zarr"
    fresh = predict(volume, tmp_path / "fresh.ome.zarr", model=network, **OPTIONS)
    stopped(volume, target, model=network)
    frame = tmp_path / "labels.ome.zarr.work" / "frame-00000"
    for path in frame.glob("objects/*.safetensors"):
        path.unlink() if damage == "missing" else path.write_bytes(path.read_bytes()[:100])
    for name in ("labels", "pyramid", "ids"):  # the objects are needed again
        (frame / f"{name}.json").unlink(missing_ok=True)
        for path in frame.glob(f"{name}/*"):
            path.unlink()
    with pytest.raises(ValueError, match="was damaged or missing; start the same command again"):
        predict(volume, target, model=network, **OPTIONS)
    for _ in range(len(list((frame / "candidates").iterdir()))):
        with suppress(ValueError):  # one line per file
            predict(volume, target, model=network, **OPTIONS)
    assert np.array_equal(stored(target), stored(fresh.target))


@pytest.mark.long
def test_an_empty_file_of_a_machine_that_stopped_is_not_read(tmp_path, network, volume, stopped):
    target = tmp_path / "labels.ome.zarr"
    stopped(volume, target, model=network)
    (tmp_path / "labels.ome.zarr.work" / "frame-00000" / "candidates.json").write_text("")
    result = predict(volume, target, model=network, **OPTIONS)
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    assert np.array_equal(stored(result.target), expected.labels)


def test_a_result_that_is_made_again_takes_later_ones_with_it(tmp_path):
    work = WorkFolder(tmp_path / "frame")
    items = {}
    for name in ("plan", "candidates", "suppression.1", "objects"):
        items[name] = work.write(name, "0", {"x": np.arange(3)})
        work.close(name, [items[name]])
        time.sleep(0.02)
    work.write("labels", "0", {})  # not complete
    assert not work.repair()
    (work.path / "candidates" / items["candidates"].file).unlink()
    with pytest.raises(ValueError, match="was damaged or missing"):
        work.read(items["candidates"])
    assert work.repair()
    assert work.complete("plan") == {"0": items["plan"]}
    for name in ("candidates", "suppression.1", "objects"):
        assert work.complete(name) is None
        assert not work.found(name)
    assert not work.found("labels")
    assert not work.repair()


def test_names_with_brackets_and_long_names_are_removed(tmp_path):
    for name in ("cells[1].ome.zarr.work", f"{'n' * 220}.ome.zarr.work"):
        place = tmp_path / name
        (place / "frame-00000").mkdir(parents=True)
        discard(place)
        assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_workers_in_another_folder_see_files_with_relative_names(tmp_path, monkeypatch):
    network, volume = small_model(), noise((40, 60, 70))
    write_volume(tmp_path / "v.ome.zarr", volume)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with local_workers(1) as client:
        monkeypatch.chdir(tmp_path)
        predict("v.ome.zarr", "l.ome.zarr", client, network, table="t.csv", **OPTIONS | {"block": 1000})
    expected = network.predict(volume, diameter=13, device="cpu", progress=False).labels
    assert np.array_equal(stored(tmp_path / "l.ome.zarr"), expected)
    assert (tmp_path / "t.csv").is_file()
    assert not os.listdir(tmp_path / "elsewhere")


def test_the_device_is_chosen_where_a_task_runs(tmp_path, volume, monkeypatch):
    given = []

    def recorded(*arguments, **options):
        given.append(options["device"])
        raise ValueError("enough")

    monkeypatch.setattr("anystar_torch.distributed.predict", recorded)
    source = write_volume(tmp_path / "v.ome.zarr", volume)
    for word in ("auto", "cpu"):
        with pytest.raises(SystemExit):
            main(
                [
                    "predict",
                    str(source),
                    "-o",
                    str(tmp_path / "l.ome.zarr"),
                    "--range",
                    "0",
                    "9",
                    "--device",
                    word,
                ]
            )
    assert given == ["auto", "cpu"]


def test_the_process_that_starts_a_prediction_needs_no_device_of_its_workers(tmp_path):
    network = small_model()
    (job,) = jobs_of([noise(SHAPE)], network, LargeOptions(device="cuda:99", diameter=13), tmp_path)
    weights.save(job.model, network.network, network.config)
    assert job.config == network.config
    assert len(job.rays) == 32
    with pytest.raises(ValueError, match="cuda:99"):
        _ = job.network


@pytest.mark.long
def test_labels_inside_of_an_image_with_channels(tmp_path, volume):
    network = small_model()
    weights.save(tmp_path / "model", network.network, network.config)
    channels = np.stack([np.zeros_like(volume), volume])
    source = write_volume(tmp_path / "v.ome.zarr", channels, "czyx")
    command = ["predict", str(source), "--into-labels", "cells", "--model", str(tmp_path / "model")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--channel", "1", "--diameter", "13", "--device", "cpu"])
    assert ended.value.code == 0
    assert stored(source / "labels" / "cells").shape == volume.shape


@pytest.mark.long
def test_threads_are_those_asked_for_in_this_process_too(tmp_path, network, volume, monkeypatch):
    used, before = [], torch.get_num_threads()
    find = large.find_objects

    def noted(job: Job, run):
        used.append(torch.get_num_threads())
        return find(job, run)

    monkeypatch.setattr(large, "find_objects", noted)
    try:
        torch.set_num_threads(2)
        predict(volume, tmp_path / "l.ome.zarr", model=network, threads=1, **OPTIONS)
        assert used == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
