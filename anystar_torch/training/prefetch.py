"""The next batch is made while the network trains on this one.

On a CPU a second thread makes it (:class:`ThreadPrefetch`): torch releases Python's lock in every operator, so two
cores train on one and synthesise on the other. On a GPU it is made on a stream of its own (:class:`StreamPrefetch`).
Both make the batches of ``steps`` training steps in one call and hand them out one by one.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, cycle, islice
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor

from anystar_torch.training.streams import Mark, Streams

Made = TypeVar("Made", bound=Tensor | tuple[Tensor, ...])
Call = list[list[int]]
"""The ids of each step that one call makes samples for."""


@runtime_checkable
class IdBatches(Sized, Iterable[list[int]], Protocol):
    """The ids of every step, in order; ``len`` is what the loader reports."""


def calls(batches: Iterable[list[int]], steps: int) -> Iterator[Call]:
    """The batches of ids in groups of ``steps``; the last group may be smaller."""
    remaining = iter(batches)
    while group := list(islice(remaining, steps)):
        yield group


def split(made: Made, call: Call) -> Iterator[Made]:
    """What was made for a call, step by step: views of its rows."""
    first = 0
    for ids in call:
        rows = slice(first, first + len(ids))
        first += len(ids)
        if isinstance(made, Tensor):
            yield cast(Made, made[rows])
        else:
            yield _like(made, [tensor[rows] for tensor in made])


def _like(made: Made, tensors: Iterable[Tensor]) -> Made:
    """Other tensors in the same (named) tuple."""
    make = getattr(made, "_make", tuple)
    return cast(Made, make(tensors))


class ThreadPrefetch(Sized, Generic[Made]):
    """Batches made by a second thread, one call ahead of the step.

    Args:
        batches: ids of every step.
        make: ids ``[B]`` on the CPU to tensors of B rows; runs on another thread, with one thread of torch.
        waited: receives the seconds that each call had to be waited for.
        steps: training steps per call of ``make``.
    """

    def __init__(
        self,
        batches: IdBatches,
        make: Callable[[Tensor], Made],
        waited: Callable[[float], None],
        steps: int = 1,
    ) -> None:
        self.batches, self.make, self.waited, self.steps = batches, make, waited, steps

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Made]:
        with ThreadPoolExecutor(1, "synthesis", initializer=torch.set_num_threads, initargs=(1,)) as maker:
            pending: deque[tuple[Call, Future[Made]]] = deque()
            for call in calls(self.batches, self.steps):
                ids = torch.tensor(list(chain.from_iterable(call)))
                pending.append((call, maker.submit(self.make, ids)))
                if len(pending) == 2:
                    yield from self._taken(*pending.popleft())
            while pending:
                yield from self._taken(*pending.popleft())

    def _taken(self, call: Call, coming: Future[Made]) -> Iterator[Made]:
        began = time.perf_counter()
        made = coming.result()
        self.waited(time.perf_counter() - began)
        yield from split(made, call)


class Repeated(Generic[Made]):
    """``make`` for one number of ids, as a graph that is captured at the first call and replayed at all others.

    What cannot be captured (it waits for the device, as adapted MONAI and TorchIO effects do) runs eagerly instead,
    and ``say`` receives one line about it.

    Args:
        make: ids ``[B]`` on the device to tensors of B rows; nothing else it reads may change.
        size: number of ids B. Fewer are filled up with the last one; their rows are the first of the result.
        streams: of the device.
        say: receives the line.
    """

    def __init__(
        self, make: Callable[[Tensor], Made], size: int, streams: Streams, say: Callable[[str], None]
    ) -> None:
        self.make, self.size, self.streams, self.say = make, size, streams, say
        self._ids: Tensor | None = None
        self._replay: Callable[[], None] | None = None
        self._made: Made | None = None
        self._eager = False

    def __call__(self, ids: list[int]) -> Made:
        """What ``make`` makes of ``ids``, valid until the next call; to be called on the side stream."""
        self._set(ids + ids[-1:] * (self.size - len(ids)))
        if self._made is None and not self._eager:
            self._prepare()
        if self._eager:
            return self._eagerly()
        assert self._replay is not None
        assert self._made is not None
        self._replay()
        return self._made

    def release(self) -> None:
        """Frees the graph and its memory; another call captures again."""
        self.streams.finish()
        self._ids, self._replay, self._made = None, None, None

    def _set(self, ids: list[int]) -> None:
        """The ids are the only input of the graph: it reads them where it was captured."""
        uploaded = self.streams.pinned(ids)
        if self._ids is None:
            self._ids = torch.empty(self.size, dtype=torch.int64, device=self.streams.device)
        self._ids.copy_(uploaded, non_blocking=True)

    def _eagerly(self) -> Made:
        assert self._ids is not None
        return self.make(self._ids)

    def _prepare(self) -> None:
        # What happens once may not be captured: cuFFT's plans, compilation, cached constants.
        for _ in range(2):
            self._eagerly()
        try:
            # A capture that fails half-way is hard to recover from, so what would fail is looked for first.
            with self.streams.refusing_synchronisation():
                self._eagerly()
            self._replay, self._made = self.streams.capture(self._eagerly)
        except RuntimeError as error:
            self._eager = True
            reason = str(error).strip().partition("\n")[0]
            self.say(f"samples are made without a CUDA graph, which costs time: {reason}")


class StreamPrefetch(Sized, Generic[Made]):
    """Batches made on a stream of their own, one call ahead of the training stream.

    Two sets of buffers take turns. While the training stream works on the batches of one call, the side stream fills
    the other set with those of the next call. A batch is valid during its step: whoever keeps it longer copies it.

    Order, for call c and the set of buffers s = c modulo 2:

    - training has queued all its steps on call c - 2, which was in s; a mark is set there;
    - the side stream waits for that mark, makes the samples, copies them into s and sets a mark of its own;
    - the training stream waits for the mark of call c before its first step on it.

    The host waits for none of this.

    Args:
        batches: ids of every step.
        make: the ids of a call to tensors, on the current stream; see :class:`Repeated`.
        streams: of the device.
        waited: receives the seconds for which the training stream stood still for a call, some steps later.
        steps: training steps per call of ``make``.
    """

    def __init__(
        self,
        batches: IdBatches,
        make: Callable[[list[int]], Made],
        streams: Streams,
        waited: Callable[[float], None],
        steps: int = 1,
    ) -> None:
        self.batches, self.make, self.streams, self.waited, self.steps = batches, make, streams, waited, steps
        self._waits: deque[tuple[Mark, Mark]] = deque()

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Made]:
        pending: deque[tuple[Call, Made, Mark]] = deque()
        buffers = cycle((Buffers[Made](self.streams), Buffers[Made](self.streams)))
        for call in calls(self.batches, self.steps):
            reached = self.streams.mark()
            pending.append(self._launched(call, next(buffers), reached))
            if len(pending) == 2:
                yield from self._taken(*pending.popleft(), reached)
        while pending:
            yield from self._taken(*pending.popleft(), self.streams.mark())

    def _launched(self, call: Call, buffers: "Buffers[Made]", free: Mark) -> tuple[Call, Made, Mark]:
        # Validation iterates in inference mode; its tensors could not be written to again outside of it.
        with torch.inference_mode(False), torch.no_grad(), self.streams.side():
            self.streams.wait(free)
            made = buffers.filled(self.make(list(chain.from_iterable(call))))
            return call, made, self.streams.mark()

    def _taken(self, call: Call, made: Made, done: Mark, reached: Mark) -> Iterator[Made]:
        self.streams.wait(done)
        self._waits.append((reached, self.streams.mark()))
        self._report()
        yield from split(made, call)

    def _report(self) -> None:
        """Reports the waits the device has been through; those still ahead of it are asked for again later."""
        while self._waits and (seconds := self.streams.seconds(*self._waits[0])) is not None:
            self._waits.popleft()
            self.waited(seconds)


class Buffers(Generic[Made]):
    """One set of tensors that batches are copied into, made for the first of them.

    Args:
        streams: of the device.
    """

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self._kept: Made | None = None

    def filled(self, made: Made) -> Made:
        """The buffers, with ``made`` copied into them on the current stream."""
        if self._kept is None:
            several = (made,) if isinstance(made, Tensor) else made
            fresh = [self.streams.buffer(tensor) for tensor in several]
            self._kept = cast(Made, fresh[0]) if isinstance(made, Tensor) else _like(made, fresh)
        if isinstance(made, Tensor):
            self._kept.copy_(made)  # type: ignore[union-attr]
        else:
            for buffer, tensor in zip(self._kept, made, strict=True):
                buffer.copy_(tensor)
        return self._kept
