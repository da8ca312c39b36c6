"""Batches made ahead: in order, each once, one at a time, and an error reaches whoever waits."""

import threading
import time

import pytest
import torch
from torch.utils.data import DataLoader

from anystar_torch.ahead import Ahead


def loader(count):
    return DataLoader(range(count), batch_size=2)


def test_every_batch_once_and_in_order_on_another_thread():
    threads, waits = set(), []

    def make(ids):
        threads.add(threading.current_thread())
        return ids * 10

    made = list(Ahead(loader(7), make, waits.append))
    assert [batch.tolist() for batch in made] == [[0, 10], [20, 30], [40, 50], [60]]
    assert threading.current_thread() not in threads
    assert len(threads) == 1
    assert len(waits) == 4


def test_the_next_batch_is_made_while_the_last_is_used():
    began = []

    def make(ids):
        began.append(int(ids[0]))
        return ids

    for batch in Ahead(loader(8), make, lambda seconds: None):
        time.sleep(0.1)
        assert began[-1] == min(int(batch[0]) + 2, 6), "one batch ahead, no more and no less"


def test_torch_threads_of_the_caller_stay():
    before = torch.get_num_threads()
    inside = list(Ahead(loader(4), lambda ids: torch.get_num_threads(), lambda seconds: None))
    assert inside == [1, 1]
    assert torch.get_num_threads() == before


def test_an_error_reaches_the_caller():
    def make(ids):
        raise ValueError(f"no sample {int(ids[0])}")

    with pytest.raises(ValueError, match="no sample 0"):
        list(Ahead(loader(4), make, lambda seconds: None))
