"""What prefetching needs of a device with streams: the only code of it that calls CUDA."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

Made = TypeVar("Made")
Mark = Any
"""A point in the work of a stream, as ``Streams.mark`` returns it (a CUDA event)."""


@runtime_checkable
class Streams(Protocol):
    """A device with the current stream, on which training runs, and a side stream."""

    device: torch.device

    def side(self) -> AbstractContextManager[None]:
        """Make the side stream the current one inside the block."""
        ...

    def mark(self) -> Mark:
        """A point after everything queued on the current stream so far."""
        ...

    def wait(self, mark: Mark) -> None:
        """Have the current stream wait for ``mark``; the host goes on."""
        ...

    def finish(self) -> None:
        """Have the host wait until the side stream has run everything."""
        ...

    def seconds(self, first: Mark, second: Mark) -> float | None:
        """Seconds between two marks of a stream; None before the device has reached the second."""
        ...

    def pinned(self, ids: list[int]) -> Tensor:
        """The ids, int64 ``[B]``, in memory from which the device copies without the host waiting."""
        ...

    def buffer(self, like: Tensor) -> Tensor:
        """An empty tensor written to on the side stream and read on the training stream."""
        ...

    def capture(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """Record ``work`` without running it: what runs it again, and the tensors it then writes to.

        Raises:
            RuntimeError: the work cannot be captured.
        """
        ...

    def refusing_synchronisation(self) -> AbstractContextManager[None]:
        """Raise RuntimeError inside the block where the host waits for the device."""
        ...


def streams_of(device: torch.device) -> Streams | None:
    """The streams of a CUDA device; None for devices whose batches are made without."""
    return CudaStreams(device) if device.type == "cuda" else None


class CudaStreams:
    """Streams, events and graphs of a CUDA device.

    All graphs share one pool of memory. That is safe because they run one after the other on the side stream, and the
    result of each is copied on that stream before the next runs.

    Args:
        device: with its index.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._training = torch.cuda.current_stream(device)
        self._pool: Any = None

    @contextmanager
    def side(self) -> Iterator[None]:
        """Make the side stream the current one inside the block."""
        with torch.cuda.stream(self._side):
            yield

    def mark(self) -> torch.cuda.Event:
        """A point after everything queued on the current stream so far."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def wait(self, mark: torch.cuda.Event) -> None:
        """Have the current stream wait for ``mark``; the host goes on."""
        torch.cuda.current_stream(self.device).wait_event(mark)

    def finish(self) -> None:
        """Have the host wait until the side stream has run everything."""
        self._side.synchronize()

    def seconds(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float | None:
        """Seconds between two marks of a stream; None before the device has reached the second."""
        reached: bool = second.query()  # type: ignore[no-untyped-call]
        return first.elapsed_time(second) / 1000.0 if reached else None

    def pinned(self, ids: list[int]) -> Tensor:
        """The ids in pinned memory; torch reuses it only after the copy to the device has run."""
        return torch.tensor(ids, dtype=torch.int64).pin_memory()

    def buffer(self, like: Tensor) -> Tensor:
        """An empty tensor; when it is freed its memory waits for the training stream to have read it."""
        buffer = torch.empty_like(like, memory_format=torch.contiguous_format)
        buffer.record_stream(self._training)
        return buffer

    def capture(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """Record ``work`` as a CUDA graph on the side stream, which must be the current one."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # thread_local: threads of loggers and of progress bars may call CUDA meanwhile
        with torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"):
            made = work()
        return graph.replay, made

    @contextmanager
    def refusing_synchronisation(self) -> Iterator[None]:
        """Raise RuntimeError inside the block where the host waits for the device."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch calls the mode a prototype
            torch.cuda.set_sync_debug_mode("error")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode(before)
