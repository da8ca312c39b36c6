"""Workers of one machine share its cores."""

import os
import signal

import pytest
import torch
import zarr

from anystar_torch.cli import large
from anystar_torch.distributed import cluster
from anystar_torch.distributed.job import memory_of_worker
from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import _native
from anystar_torch.system import threads
from anystar_torch.system.memory import Memory, resident
from tests.distributed.cases import small_model


def used_threads(_):
    """Threads of PyTorch, of the native code and of Zarr in this process, and the settings of other libraries."""
    given, names = [], {"render_labels": 7, "Suppression": 6}  # place of the argument

    def recorded(function, place):
        return lambda *arguments: given.append(arguments[place]) or function(*arguments)

    kept = {name: getattr(_native, name) for name in names}
    rays = Rays.golden_spiral(32)
    points, distances = torch.tensor([[8.0, 8, 8], [9.0, 8, 8]]), torch.full((2, 32), 4.0)
    for name, place in names.items():
        setattr(_native, name, recorded(kept[name], place))
    try:
        ops.render_labels(points, distances, rays, (16, 16, 16))
        ops.nms(points, distances, torch.tensor([0.9, 0.8]), rays, 0.3)
    finally:
        for name, function in kept.items():
            setattr(_native, name, function)
    others = [int(os.environ[name]) for name in threads.thread_variables(1)]
    return torch.get_num_threads(), given, zarr.config.get("threading.max_workers"), others


@pytest.mark.long
@pytest.mark.parametrize(("asked", "expected"), [(None, 2), (1, 1)])
@pytest.mark.skipif(threads.usable_cores() < 2, reason="MKL limits PyTorch to the cores of the machine")
def test_local_workers_share_the_cores(monkeypatch, asked, expected):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "usable_cores", lambda: 5)
    ours = list(threads.thread_variables(1))
    before = [os.environ.get(name) for name in ours]
    with cluster.local_workers(2, asked) as client:
        workers = list(client.nthreads())
        found = [client.submit(used_threads, 0, workers=[one]).result() for one in workers]
    assert len(found) == 2
    for torch_threads, native, of_zarr, others in found:
        assert torch_threads == of_zarr == expected
        assert native == [expected, expected]
        assert set(others) == {expected}
    assert [os.environ.get(name) for name in ours] == before


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
def test_local_workers_leave_ctrl_c_to_the_process_that_started_them():
    """A terminal sends it to all processes; a worker that it ends prints a page of Dask's calls."""
    with cluster.local_workers(1, 1) as client:
        (before,) = client.run(os.getpid).values()
        client.run(lambda: os.kill(os.getpid(), signal.SIGINT))
        (after,) = client.run(os.getpid).values()
    assert before == after


def test_usable_cores_are_those_of_the_affinity_mask():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("the system has no affinity masks")
    all_cores = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(all_cores)})
        assert threads.usable_cores() == 1
        assert threads.shared_cores(2) == 1
    finally:
        os.sched_setaffinity(0, all_cores)
    assert threads.usable_cores() == len(all_cores)


@pytest.mark.parametrize(("limit", "expected"), [("2", 2), ("8", 4), ("0", 4), ("1,2", 4), (None, 4)])
def test_a_limit_in_the_environment_is_kept(monkeypatch, limit, expected):
    monkeypatch.setattr(threads, "usable_cores", lambda: 9)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if limit is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", limit)
    assert threads.shared_cores(2) == expected


def test_the_command_passes_threads_to_local_workers_only(monkeypatch):
    asked = []

    def recorded(*arguments):
        asked.append(arguments)
        raise ValueError("recorded")

    monkeypatch.setattr(cluster, "local_workers", recorded)
    monkeypatch.setattr(cluster, "scheduler_at", recorded)
    for wanted in (
        large.Blockwise(workers=2),
        large.Blockwise(workers=2, threads=3),
        large.Blockwise(scheduler="tcp://host:1", threads=3),
    ):
        with pytest.raises(ValueError, match="recorded"), large._client(wanted, small_model(max_memory=1e9)):
            pass
    assert asked == [(2, None), (2, 3), ("tcp://host:1",)]


def test_processes_divide_the_memory_that_they_share(monkeypatch):
    """A GPU each needs no limit; three processes on two GPUs take half of what one of them has free."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        Memory, "of", classmethod(lambda cls, device: cls(free=10_000, reserved=0, allocated=0))
    )
    gpu = torch.device("cuda", 0)
    assert memory_of_worker(2, gpu) is None
    assert memory_of_worker(3, gpu) == memory_of_worker(4, gpu) == pytest.approx(4000)
    one, four = (memory_of_worker(count, torch.device("cpu")) - resident() for count in (1, 4))
    assert one == pytest.approx(4 * four, rel=0.2)  # other processes take and free memory meanwhile
