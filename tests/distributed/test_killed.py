"""A prediction that is killed continues with the same command, and ends with the same labels."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from distributed import Client

from anystar_torch.distributed import predict
from anystar_torch.distributed.cluster import local_workers
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import weights
from tests.distributed.cases import noise, small_model, stored, write_volume

SHAPE = (56, 72, 84)
OPTIONS = {"diameter": 13, "block": 40, "shard": (32, 64, 64), "device": "cpu", "progress": False}


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """A source, its network, and the labels of the prediction in memory."""
    folder = tmp_path_factory.mktemp("large")
    volume, network = noise(SHAPE), small_model()
    write_volume(folder / "volume.ome.zarr", volume)
    weights.save(folder / "model", network.network, network.config)
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    assert len(expected) > 30
    return folder / "volume.ome.zarr", network, expected.labels


PROGRAM = """
import os, signal, sys, torch
torch.set_num_threads(1)
from anystar_torch.distributed import predict, work_folder
from anystar_torch.inference.plan import TileOptions
from anystar_torch.inference.predictor import AnyStar

write, left = work_folder.WorkFolder.write, [int(sys.argv[4])]

def counted(self, *arguments):
    item = write(self, *arguments)
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return item

work_folder.WorkFolder.write = counted
network = AnyStar.from_pretrained(sys.argv[3], tile_options=TileOptions(size=(32, 48, 48)))
options = {"diameter": 13, "block": 40, "shard": (32, 64, 64), "device": "cpu", "progress": False}
predict(sys.argv[1], sys.argv[2], model=network, **options)
print(left[0])
"""


def run_until(case, target, count):
    """Run a prediction in a process that is killed after ``count`` results; its exit status and output."""
    source, _, _ = case
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(source), str(target), str(source.parent / "model"), str(count)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.long
def test_a_killed_driver_continues_to_the_same_labels(case, tmp_path):
    target = tmp_path / "labels.ome.zarr"
    for count in (9, 20):
        status, output = run_until(case, target, count)
        assert status == -signal.SIGKILL, output
        assert not target.exists()
    status, output = run_until(case, target, 10_000)
    assert status == 0, output
    assert np.array_equal(stored(target), case[2])
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.slow
def test_two_workers_find_the_same_labels_though_one_is_killed(case, tmp_path):
    source, network, expected = case
    target = tmp_path / "labels.ome.zarr"
    with local_workers(2) as client:
        worker, ended = next(iter(client.run(os.getpid).values())), threading.Event()

        def kill_one():
            while not list((tmp_path / "labels.ome.zarr.work").glob("*/candidates/*.safetensors")):
                assert not ended.wait(0.05), "nothing was stored before the end"
            os.kill(worker, signal.SIGKILL)

        with ThreadPoolExecutor(1) as pool:
            killed = pool.submit(kill_one)
            try:
                predict(source, target, client, network, threads=1, **OPTIONS)
            finally:
                ended.set()
            killed.result()
    assert np.array_equal(stored(target), expected)


@pytest.mark.slow
def test_four_workers_write_every_voxel(case, tmp_path):
    source, network, expected = case
    target = tmp_path / "labels.ome.zarr"
    options = OPTIONS | {"shard": (32, 32, 32)}
    with local_workers(4) as client:
        client.run(note_writers, tmp_path)
        predict(source, target, client, network, threads=1, **options)
    shards = [-(-n // 32) for n in SHAPE]
    written = [path.name.split() for path in tmp_path.glob("* *")]
    assert len(written) >= np.prod(shards)
    assert len({process for process, _ in written}) == 4
    assert np.array_equal(stored(target), expected)


def note_writers(folder):
    """Let a worker leave a file for each shard that it writes, named after its process."""
    from anystar_torch.io import LabelStore

    write = LabelStore.write

    def noted(self, *arguments):
        (folder / f"{os.getpid()} {time.monotonic_ns()}").touch()
        return write(self, *arguments)

    LabelStore.write = noted


@pytest.mark.slow
def test_a_block_that_always_fails_ends_in_one_line_that_says_what_is_kept(case, tmp_path):
    source, network, _ = case
    target = tmp_path / "labels.ome.zarr"
    work = tmp_path / "work"
    with local_workers(1) as client:
        client.run(fail_always)
        with pytest.raises(
            ValueError, match=r"failed 3 times: No space left on device; what is done is kept"
        ):
            predict(source, target, client, network, work=work, threads=1, **OPTIONS)
    assert not target.exists()
    assert (work / "labels.ome.zarr.work" / "settings.json").is_file()
    predict(source, target, model=network, work=work, **OPTIONS)  # the space is there again
    assert np.array_equal(stored(target), case[2])
    assert not list(work.iterdir())


def fail_always():
    """Let a worker's disk be full after its first results."""
    from anystar_torch.distributed.work_folder import WorkFolder

    write = WorkFolder.write

    def full(self, stage, *arguments):
        if stage == "candidates":
            raise OSError(28, "No space left on device")
        return write(self, stage, *arguments)

    WorkFolder.write = full


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.long
def test_what_is_finished_or_has_other_settings_is_refused(case, tmp_path):
    source, network, _ = case
    target = tmp_path / "labels.ome.zarr"
    status, _ = run_until(case, target, 9)
    assert status == -signal.SIGKILL
    with pytest.raises(ValueError, match=r"other settings \(diameter\); give the same ones"):
        predict(source, target, model=network, **OPTIONS | {"diameter": 12})
    with pytest.raises(ValueError, match=r"other settings \(source, spacing\)"):
        predict(noise(SHAPE, seed=1), target, model=network, **OPTIONS)
    metadata = source / "zarr.json"
    before = metadata.stat()
    os.utime(metadata, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(ValueError, match=r"other settings \(source\)"):
        predict(source, target, model=network, **OPTIONS)
    os.utime(metadata, ns=(before.st_atime_ns, before.st_mtime_ns))
    predict(source, target, model=network, **OPTIONS)
    with pytest.raises(ValueError, match="exists; overwrite it"):
        predict(source, target, model=network, **OPTIONS)
    empty = predict(source, target, model=network, overwrite=True, **OPTIONS | {"prob_thresh": 0.999})
    assert empty.objects == 0
    assert not stored(target).any()


def full_disk(*_):
    raise OSError(28, "No space left on device")


@pytest.mark.long
def test_labels_that_vanish_are_written_again(case, tmp_path):
    source, network, expected = case
    target, work = tmp_path / "labels.ome.zarr", tmp_path / "work"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anystar_torch.io.LabelStore.finish", full_disk)
        with pytest.raises(ValueError, match="No space left on device; what is done is kept"):
            predict(source, target, model=network, work=work, **OPTIONS)
    (unfinished,) = tmp_path.glob("*.partial")
    os.rename(unfinished, tmp_path / "elsewhere")
    predict(source, target, model=network, work=work, **OPTIONS)
    assert np.array_equal(stored(target), expected)


@pytest.fixture
def cluster():
    """The address and the process of a scheduler with one worker, each a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()}
    place = ("--host", "127.0.0.1", "--no-dashboard")
    dask = [sys.executable, "-m", "distributed.cli.dask_scheduler", *place, "--port", str(port)]
    scheduler = subprocess.Popen(dask, env=environment, **quiet)
    dask = [
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        *place,
        "--no-nanny",
        "--nthreads",
        "1",
    ]
    worker = subprocess.Popen(dask, env=environment, **quiet)
    yield address, scheduler
    for process in (worker, scheduler):
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_lost_scheduler_ends_in_one_line_and_the_work_continues(case, tmp_path, cluster):
    source, (address, scheduler) = case[0], cluster
    target = tmp_path / "labels.ome.zarr"
    program = "from anystar_torch.cli import main; main()"
    command = [
        sys.executable,
        "-c",
        program,
        "predict",
        source,
        "-o",
        target,
        "--model",
        source.parent / "model",
    ]
    command += ["--diameter", 13, "--device", "cpu", "--scheduler", address]
    with Client(address, timeout="120s") as client:
        client.wait_for_workers(1, timeout=120)
    running = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        while not list((tmp_path / "labels.ome.zarr.work").glob("*/*/*.safetensors")):
            assert running.poll() is None, running.communicate()[1]
            time.sleep(0.05)
        scheduler.kill()
        _, said = running.communicate(timeout=120)
    finally:
        running.kill()
    assert running.returncode == 2
    lines = [line for line in said.splitlines() if not line.startswith("dashboard: ")]
    assert len(lines) == 1, said
    assert "the connection to the scheduler was lost" in lines[0]
    assert f"what is done is kept in {target}.work, and the same command continues it" in lines[0]
    assert not target.exists()
    predict(source, target, model=source.parent / "model", progress=False, diameter=13, device="cpu")
    assert np.array_equal(stored(target), in_one_tile(case))


def in_one_tile(case):
    """The labels of a prediction in memory with the tiles of the command line."""
    network = AnyStar.from_pretrained(case[0].parent / "model")
    return network.predict(noise(SHAPE), diameter=13, device="cpu", progress=False).labels
