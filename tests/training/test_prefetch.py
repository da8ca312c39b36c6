"""Batches are made one call in advance, in order and once each, and an error reaches the thread that waits."""

import threading
import time
from contextlib import contextmanager, nullcontext

import pytest
import torch

from anystar_torch.training.prefetch import Repeated, StreamPrefetch, ThreadPrefetch, calls, split


def batches(count, size=2):
    return [list(range(first, min(first + size, count))) for first in range(0, count, size)]


def nothing(value):
    pass


def test_every_batch_once_and_in_order_on_another_thread():
    threads, waits = set(), []

    def make(ids):
        threads.add(threading.current_thread())
        return ids * 10

    made = list(ThreadPrefetch(batches(7), make, waits.append))
    assert [batch.tolist() for batch in made] == [[0, 10], [20, 30], [40, 50], [60]]
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    assert len(waits) == 4


def test_the_next_batch_is_made_while_the_last_is_used():
    began = []

    def make(ids):
        began.append(int(ids[0]))
        return ids

    for batch in ThreadPrefetch(batches(8), make, nothing):
        time.sleep(0.1)
        assert began[-1] == min(int(batch[0]) + 2, 6), "one batch in advance, no more and no less"


def test_one_call_makes_the_batches_of_several_steps():
    asked = []

    def make(ids):
        asked.append(ids.tolist())
        return ids * 10

    made = [batch.tolist() for batch in ThreadPrefetch(batches(10), make, nothing, steps=2)]
    assert asked == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert made == [batch.tolist() for batch in ThreadPrefetch(batches(10), lambda ids: ids * 10, nothing)]


def test_torch_threads_of_the_caller_stay():
    before = torch.get_num_threads()
    inside = list(ThreadPrefetch(batches(4), lambda ids: torch.full((2,), torch.get_num_threads()), nothing))
    assert [batch.tolist() for batch in inside] == [[1, 1], [1, 1]]
    assert torch.get_num_threads() == before


def test_an_error_reaches_the_caller():
    def make(ids):
        raise ValueError(f"no sample {int(ids[0])}")

    with pytest.raises(ValueError, match="no sample 0"):
        list(ThreadPrefetch(batches(4), make, nothing))


def test_calls_and_their_parts():
    assert list(calls([[0], [1], [2]], 2)) == [[[0], [1]], [[2]]]
    whole = (torch.arange(3), torch.arange(6).view(3, 2))
    first, second = split(whole, [[7, 8], [9]])
    assert [part.tolist() for part in first] == [[0, 1], [[0, 1], [2, 3]]]
    assert [part.tolist() for part in second] == [[2], [[4, 5]]]


class Recorded:
    """Streams of the CPU: everything runs at once, in the order that ``log`` shows.

    ``refuse`` is what a capture finds to be wrong, if anything.
    """

    def __init__(self, refuse=None):
        self.device = torch.device("cpu")
        self.log, self.refuse = [], refuse
        self._on, self._marks = "training", 0

    @contextmanager
    def side(self):
        self._on = "side"
        yield
        self._on = "training"

    def mark(self):
        self._marks += 1
        self.log.append((self._on, "mark", self._marks))
        return self._marks

    def wait(self, mark):
        self.log.append((self._on, "wait", mark))

    def finish(self):
        self.log.append((self._on, "finish"))

    def seconds(self, first, second):
        return float(second - first)

    def pinned(self, ids):
        return torch.tensor(ids)

    def buffer(self, like):
        assert not torch.is_inference_mode_enabled()
        return torch.empty_like(like)

    def capture(self, work):
        made = work()

        def replay():
            self.log.append((self._on, "replay"))
            for kept, fresh in zip(made, work(), strict=True):
                kept.copy_(fresh)

        return replay, made

    def refusing_synchronisation(self):
        if self.refuse is not None:
            raise RuntimeError(self.refuse)
        return nullcontext()


def make(ids):
    return ids.clone(), ids * 10


def loader(streams, count, steps=1, size=2, say=nothing, waited=nothing):
    repeated = Repeated(make, size * steps, streams, say)
    return StreamPrefetch(batches(count, size), repeated, streams, waited, steps)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_batches_from_a_graph_are_those_made_one_by_one(steps):
    expected = [[ids, [10 * i for i in ids]] for ids in batches(11)]
    loaded = loader(Recorded(), 11, steps)
    assert len(loaded) == 6
    for _ in range(2):  # a loader is iterated at every validation
        assert [[part.tolist() for part in batch] for batch in loaded] == expected


def test_a_released_graph_is_captured_again():
    loaded = loader(Recorded(), 4)
    before = [batch[1].tolist() for batch in loaded]
    loaded.make.release()
    assert loaded.make._made is None
    assert [batch[1].tolist() for batch in loaded] == before


def test_a_batch_is_whole_during_its_step_when_the_next_is_made_already():
    """With streams that run everything at once the next batch is complete before the step begins."""
    made = []

    def noted(ids):
        made.append(ids.tolist())
        return make(ids)

    streams = Recorded(refuse="runs eagerly, so that it is seen when")
    prefetch = StreamPrefetch(batches(12), Repeated(noted, 2, streams, nothing), streams, nothing)
    for number, (ids, values) in enumerate(prefetch):
        assert made[-1] == [min(2 * number + 2, 10), min(2 * number + 3, 11)], "one batch in advance"
        assert ids.tolist() == [2 * number, 2 * number + 1]
        assert values.tolist() == [20 * number, 20 * number + 10]


def test_both_streams_wait_for_each_other():
    """Buffers are refilled after the steps that read them, and read after they were filled."""
    streams = Recorded()
    for ids, _ in loader(streams, 8):
        streams.log.append(("training", "step", ids.tolist()[0] // 2))
    training = [entry for entry in streams.log if entry[0] == "training"]
    filled, position = {}, streams.log.index
    replays = [index for index, entry in enumerate(streams.log) if entry == ("side", "replay")]
    assert len(replays) == 4
    for call, index in enumerate(replays):
        assert streams.log[index - 1][:2] == ("side", "wait")
        assert streams.log[index + 1][:2] == ("side", "mark")
        free, filled[call] = streams.log[index - 1][2], streams.log[index + 1][2]
        assert ("training", "mark", free) in training
        if call >= 2:
            assert position(("training", "step", call - 2)) < position(("training", "mark", free))
        if call >= 1:
            assert index < position(("training", "step", call - 1)), "made while the step before runs"
    for call, mark in filled.items():
        assert position(("training", "wait", mark)) < position(("training", "step", call))


def test_waits_are_reported():
    waits = []
    list(loader(Recorded(), 8, waited=waits.append))
    assert len(waits) == 4


def test_what_the_device_has_not_reached_is_reported_later():
    streams, waits = Recorded(), []
    streams.seconds = lambda first, second: None
    prefetch = loader(streams, 8, waited=waits.append)
    list(prefetch)
    assert waits == []
    del streams.seconds
    list(prefetch)
    assert len(waits) == 8


def test_what_cannot_be_captured_runs_eagerly_and_says_so_once():
    said = []
    streams = Recorded(refuse="called a synchronizing CUDA operation\nmore of it")
    made = [batch[1].tolist() for batch in loader(streams, 7, say=said.append)]
    assert made == [[0, 10], [20, 30], [40, 50], [60]]
    assert said == [
        "samples are made without a CUDA graph, which is slower: called a synchronizing CUDA operation"
    ]
    assert ("side", "replay") not in streams.log


def test_an_error_of_the_samples_themselves_is_no_reason_to_go_on():
    def broken(ids):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        Repeated(broken, 2, Recorded(), nothing)([0, 1])


def test_validation_in_inference_mode_leaves_ordinary_tensors():
    """Training writes to the same graph's input afterwards."""
    loaded = loader(Recorded(), 8)
    with torch.inference_mode():
        assert not any(part.is_inference() for batch in loaded for part in batch)
    assert len(list(loaded)) == 4
