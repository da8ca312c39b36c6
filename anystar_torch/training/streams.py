"""Streams, marks and graphs of a device: the only code of the prefetch that calls CUDA."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.system.device import refusing_synchronisation

Made = TypeVar("Made")
Mark = Any
"""A point in the work of a stream, for example a CUDA event. ``Streams.mark`` returns it."""


@runtime_checkable
class Streams(Protocol):
    """A device with the current stream, on which training runs, and a side stream."""

    device: torch.device

    def side(self) -> AbstractContextManager[None]:
        """Make the side stream the current one inside the block."""
        ...

    def mark(self) -> Mark:
        """A point after all work that is queued on the current stream."""
        ...

    def wait(self, mark: Mark) -> None:
        """Make the current stream wait for ``mark``. The host does not wait.

        Args:
            mark: a point that ``mark`` of this class returned.
        """
        ...

    def finish(self) -> None:
        """Wait on the host until the side stream has finished."""
        ...

    def seconds(self, first: Mark, second: Mark) -> float | None:
        """Seconds between two marks of a stream; None if the device has not reached the second.

        Args:
            first: the earlier mark.
            second: the later mark.
        """
        ...

    def pinned(self, ids: list[int]) -> Int64[Tensor, " b"]:
        """The ids ``[B]`` in memory from which the device copies while the host continues.

        Args:
            ids: ids of the samples of a batch.
        """
        ...

    def buffer(self, like: Tensor) -> Tensor:
        """An empty tensor like ``like``, for the side stream to write and the training stream to read.

        Args:
            like: tensor whose shape, dtype and device the new one has.
        """
        ...

    def capture(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """Record ``work`` without running it.

        Args:
            work: queues work on the current stream and returns tensors.

        Returns:
            A function that runs the recorded work, and the tensors that it writes to.

        Raises:
            RuntimeError: the work cannot be captured.
        """
        ...

    def refusing_synchronisation(self) -> AbstractContextManager[None]:
        """Raise RuntimeError inside the block if the host would wait for the device."""
        ...


def streams_of(device: torch.device) -> Streams | None:
    """The streams of a CUDA device; None for other devices.

    Args:
        device: a device; if it is a CUDA device, with its index.
    """
    return CudaStreams(device) if device.type == "cuda" else None


class CudaStreams:
    """Streams, events and graphs of a CUDA device.

    All graphs share one memory pool. This is safe: they run one after the other on the side stream, and each result is
    copied on that stream before the next graph runs.

    Args:
        device: a CUDA device with its index.
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
        """A point after all work that is queued on the current stream."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        return event

    def wait(self, mark: torch.cuda.Event) -> None:
        """Make the current stream wait for ``mark``. The host does not wait.

        Args:
            mark: a point that ``mark`` of this class returned.
        """
        torch.cuda.current_stream(self.device).wait_event(mark)

    def finish(self) -> None:
        """Wait on the host until the side stream has finished."""
        self._side.synchronize()

    def seconds(self, first: torch.cuda.Event, second: torch.cuda.Event) -> float | None:
        """Seconds between two marks of a stream; None if the device has not reached the second.

        Args:
            first: the earlier mark.
            second: the later mark.
        """
        reached: bool = second.query()  # type: ignore[no-untyped-call]
        return first.elapsed_time(second) / 1000.0 if reached else None

    def pinned(self, ids: list[int]) -> Int64[Tensor, " b"]:
        """The ids in pinned memory. PyTorch reuses the memory only after the copy to the device.

        Arguments are those of :meth:`Streams.pinned`.
        """
        return torch.tensor(ids, dtype=torch.int64).pin_memory()

    def buffer(self, like: Tensor) -> Tensor:
        """An empty tensor. After it is freed, its memory is reused only when the training stream has read it.

        Arguments are those of :meth:`Streams.buffer`.
        """
        buffer = torch.empty_like(like, memory_format=torch.contiguous_format)
        buffer.record_stream(self._training)
        return buffer

    def capture(self, work: Callable[[], Made]) -> tuple[Callable[[], None], Made]:
        """Record ``work`` as a CUDA graph. The side stream must be the current one.

        Arguments are those of :meth:`Streams.capture`.
        """
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        graph = torch.cuda.CUDAGraph()
        # thread_local: threads of loggers and progress bars may call CUDA during the capture
        with torch.cuda.graph(graph, pool=self._pool, stream=self._side, capture_error_mode="thread_local"):
            made = work()
        return graph.replay, made

    def refusing_synchronisation(self) -> AbstractContextManager[None]:
        """Raise RuntimeError inside the block if the host would wait for the device."""
        return refusing_synchronisation()
