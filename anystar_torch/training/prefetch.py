"""Prefetch: make the samples of the next step while the network trains on those of this step.

On a CPU a second thread makes them (:class:`ThreadPrefetch`). PyTorch releases Python's lock in every operator, so one
core trains while another makes samples. On CUDA a side stream makes them (:class:`StreamPrefetch`). Both make the
batches of ``steps`` training steps in one call and return them one by one.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, cycle, islice
from typing import Generic, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.training.streams import Mark, Streams

Made = TypeVar("Made", bound=Tensor | tuple[Tensor, ...])
Ids = Int64[Tensor, " b"]
Call = list[list[int]]
"""The ids of every step of one call."""


@runtime_checkable
class IdBatches(Sized, Iterable[list[int]], Protocol):
    """The ids of every step, in order. The loader reports ``len``."""


def calls(batches: Iterable[list[int]], steps: int) -> Iterator[Call]:
    """Batches of ids in groups of ``steps``. The last group may be smaller.

    Args:
        batches: ids of every step.
        steps: number of steps per group.
    """
    remaining = iter(batches)
    while group := list(islice(remaining, steps)):
        yield group


def split(made: Made, call: Call) -> Iterator[Made]:
    """The result of a call, divided into steps. The parts are views.

    Args:
        made: tensors with one row per id.
        call: ids of every step.
    """
    first = 0
    for ids in call:
        rows = slice(first, first + len(ids))
        first += len(ids)
        if isinstance(made, Tensor):
            yield cast(Made, made[rows])
        else:
            yield _like(made, [tensor[rows] for tensor in made])


def _like(made: Made, tensors: Iterable[Tensor]) -> Made:
    """A tuple of the type of ``made`` with other tensors."""
    make = getattr(made, "_make", tuple)
    return cast(Made, make(tensors))


class ThreadPrefetch(Sized, Generic[Made]):
    """Loader whose batches are made by a second thread, one call in advance.

    Args:
        batches: ids of every step.
        make: makes tensors of B rows from ids ``[B]`` on the CPU. It runs on a thread with one PyTorch thread.
        waited: receives the seconds for which training waited for each call.
        steps: number of training steps per call of ``make``.
    """

    def __init__(
        self,
        batches: IdBatches,
        make: Callable[[Ids], Made],
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

    def _taken(self, call: Call, future: Future[Made]) -> Iterator[Made]:
        began = time.perf_counter()
        made = future.result()
        self.waited(time.perf_counter() - began)
        yield from split(made, call)


class Repeated(Generic[Made]):
    """``make`` as a CUDA graph: captured at the first call and replayed at all others.

    Work that waits for the device cannot be captured, for example adapted MONAI and TorchIO effects. It runs eagerly
    instead, and ``warn`` receives a message.

    Args:
        make: makes tensors of B rows from ids ``[B]`` on the device. Nothing else that it reads may change.
        size: number of ids B. Fewer ids are padded with the last one, and the result has B rows.
        streams: streams of the device.
        warn: receives the message.
    """

    def __init__(
        self, make: Callable[[Ids], Made], size: int, streams: Streams, warn: Callable[[str], None]
    ) -> None:
        self.make, self.size, self.streams, self.warn = make, size, streams, warn
        self._ids: Tensor | None = None
        self._replay: Callable[[], None] | None = None
        self._made: Made | None = None
        self._eager = False

    def __call__(self, ids: list[int]) -> Made:
        """The result of ``make``, valid until the next call. Must be called on the side stream.

        Args:
            ids: at most ``size`` ids.
        """
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
        """Free the graph and its memory. The next call captures a new graph."""
        self.streams.finish()
        self._ids, self._replay, self._made = None, None, None

    def _set(self, ids: list[int]) -> None:
        """Copy the ids into the input tensor of the graph, its only input."""
        uploaded = self.streams.pinned(ids)
        if self._ids is None:
            self._ids = torch.empty(self.size, dtype=torch.int64, device=self.streams.device)
        self._ids.copy_(uploaded, non_blocking=True)

    def _eagerly(self) -> Made:
        assert self._ids is not None
        return self.make(self._ids)

    def _prepare(self) -> None:
        # Work of the first calls must not be captured: plans of cuFFT, compilation, cached constants.
        for _ in range(2):
            self._eagerly()
        try:
            # It is hard to recover from a failed capture, so synchronisation is detected before it.
            with self.streams.refusing_synchronisation():
                self._eagerly()
            self._replay, self._made = self.streams.capture(self._eagerly)
        except RuntimeError as error:
            self._eager = True
            reason = str(error).strip().partition("\n")[0]
            self.warn(f"samples are made without a CUDA graph, which is slower: {reason}")


class StreamPrefetch(Sized, Generic[Made]):
    """Loader whose batches are made on the side stream, one call before the training stream needs them.

    There are two sets of buffers. While the training stream uses the batches of one call, the side stream fills the
    other set with those of the next call. A batch is valid during its step only.

    Order of the work for call c, which uses the set s = c modulo 2:

    - training has queued all steps of call c - 2, which also used s, and sets a mark;
    - the side stream waits for that mark, makes the samples, copies them into s and sets another mark;
    - the training stream waits for the second mark before the first step of call c.

    The host does not wait.

    Args:
        batches: ids of every step.
        make: makes the tensors of a call from its ids, on the current stream; see :class:`Repeated`.
        streams: streams of the device.
        waited: receives the seconds for which the training stream waited for a call, some steps later.
        steps: number of training steps per call of ``make``.
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
        # Validation iterates in inference mode. Tensors made there cannot be changed outside of it.
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
        """Report the waits that are over on the device. The others are reported later."""
        while self._waits and (seconds := self.streams.seconds(*self._waits[0])) is not None:
            self._waits.popleft()
            self.waited(seconds)


class Buffers(Generic[Made]):
    """One set of tensors into which batches are copied. The first batch determines their shapes.

    Args:
        streams: streams of the device.
    """

    def __init__(self, streams: Streams) -> None:
        self.streams = streams
        self._kept: Made | None = None

    def filled(self, made: Made) -> Made:
        """Copy ``made`` into the buffers on the current stream, and return the buffers.

        Args:
            made: a tensor or a tuple of tensors, of the same shapes at every call.
        """
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
