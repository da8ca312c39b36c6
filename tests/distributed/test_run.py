"""What tasks of a stage know about each other."""

from functools import partial
from unittest.mock import Mock

import distributed
import pytest

from anystar_torch.distributed.cluster import TaskError, Workers
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.distributed.work_folder import Item, WorkFolder


def told(work, name, others):
    return work.write("stage", name, {}, {"others": others})


def facts_of(executor, work, names, task=None):
    """What each task was told: the names of the results that were received before."""
    known = []
    with Bars(False) as bars:
        items = Run(executor, bars).stage(
            work,
            "stage",
            task or partial(told, work),
            names,
            lambda name: (list(known),),
            lambda item: known.append(item.name),
        )
    return {name: item.facts["others"] for name, item in items.items()}


@pytest.fixture(params=["this process", "a worker"])
def executor(request):
    if request.param == "this process":
        yield ThisProcess()
        return
    with distributed.Client(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as client:
        yield Workers(client)


def test_a_task_is_told_all_results_before_it(tmp_path, executor):
    expected = {"0": [], "1": ["0"], "2": ["0", "1"]}
    assert facts_of(executor, WorkFolder(tmp_path), ["0", "1", "2"]) == expected


def test_a_task_is_told_results_of_an_earlier_run(tmp_path):
    work = WorkFolder(tmp_path)
    told(work, "1", [])
    assert facts_of(ThisProcess(), work, ["0", "1", "2"]) == {"0": ["1"], "1": [], "2": ["1", "0"]}


def test_a_worker_that_memory_ends_is_told_with_what_helps():
    """A continued run keeps its tiles, so a lower limit alone does not help."""
    ended = Mock(key="0-1-2-abc", result=Mock(side_effect=distributed.KilledWorker("0-1-2-abc", Mock(), 3)))
    with pytest.raises(
        TaskError, match=r"^block 0-1-2 ended its worker 4 times.*: start fewer workers; or, .* remove"
    ):
        Workers(Mock())._result(ended)


def test_workers_that_join_later_get_tasks():
    """A cluster starts its workers one by one, while the work has begun."""
    taken = []

    def calls():
        for number in range(100):
            taken.append(number)
            yield (str(number),)

    cluster = distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    )
    with cluster, distributed.Client(cluster) as client:
        results = Workers(client).results(partial(Item, "stage", file=""), calls())
        next(results)
        assert len(taken) == 2
        next(results)
        assert len(taken) == 3
        cluster.scale(4)
        client.wait_for_workers(4)
        next(results)
        assert len(taken) == 2 + 2 * 4
        results.close()


def test_a_result_that_is_stored_elsewhere_ends_the_run(tmp_path):
    """A worker whose path is that of another disk writes where nobody else reads."""
    here, there = WorkFolder(tmp_path / "here"), WorkFolder(tmp_path / "there")
    with pytest.raises(ValueError, match=r"and it is not there: all workers .* must see one work folder"):
        facts_of(ThisProcess(), here, ["0"], partial(told, there))
