"""The next batch is made while the network trains on this one.

A GPU does so by itself: launching is asynchronous. On a CPU a second thread makes the batch; torch lets go of Python's
lock in every operator, so that two cores train on one and synthesise on the other.
"""

import time
from collections.abc import Callable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import DataLoader

Made = TypeVar("Made")


class Ahead(Sized, Generic[Made]):
    """What ``make`` makes of every batch of ids, one batch ahead of whoever takes them.

    Args:
        loader: batches of ids.
        make: ids to a batch; runs on another thread, with one thread of torch.
        waited: told for how many seconds each batch had to be waited for.
    """

    def __init__(
        self, loader: DataLoader[int], make: Callable[[Tensor], Made], waited: Callable[[float], None]
    ) -> None:
        self.loader, self.make, self.waited = loader, make, waited

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Made]:
        with ThreadPoolExecutor(1, "synthesis", initializer=torch.set_num_threads, initargs=(1,)) as maker:
            coming: Future[Made] | None = None
            for ids in self.loader:
                following = maker.submit(self.make, ids)
                if coming is not None:
                    yield self._taken(coming)
                coming = following
            if coming is not None:
                yield self._taken(coming)

    def _taken(self, coming: Future[Made]) -> Made:
        began = time.perf_counter()
        batch = coming.result()
        self.waited(time.perf_counter() - began)
        return batch
