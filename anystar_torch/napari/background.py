"""Work in the background: its progress, and its end before it is done."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from torch import nn

from anystar_torch.system.progress import reporting

T = TypeVar("T")


class CancelledError(Exception):
    """The user ended the work."""


@dataclass
class Progress:
    """The state of some work. The thread that works writes it, the viewer reads it.

    Attributes:
        title: what is being done.
        done: number of parts that are done.
        total: number of all parts; 0 while it is unknown.
    """

    title: str = ""
    done: int = 0
    total: int = 0
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def cancel(self) -> None:
        """End the work at its next step."""
        self._ended.set()

    @property
    def cancelled(self) -> bool:
        """Whether the work was asked to end."""
        return self._ended.is_set()

    def check(self) -> None:
        """End the work here if that was asked for.

        Raises:
            CancelledError: the user ended the work.
        """
        if self._ended.is_set():
            raise CancelledError

    def __call__(self, title: str, done: int, total: int) -> None:
        """Take the state from a progress bar (:func:`~anystar_torch.system.progress.reporting`)."""
        self.check()
        self.title, self.done, self.total = title, done, total


def run(work: Callable[[], T], progress: Progress, network: nn.Module | None = None) -> T:
    """Do some work in this thread and report its progress.

    Args:
        work: calls the stages of prediction.
        progress: receives the progress.
        network: a network that the work applies; it ends between two layers. None for work without one.

    Raises:
        CancelledError: the user ended the work.
    """
    with reporting(progress), _interruptible(network, progress):
        return work()


@contextmanager
def _interruptible(network: nn.Module | None, progress: Progress) -> Iterator[None]:
    """Check for the end before every layer: a tile can take many seconds."""
    thread = threading.get_ident()

    def check(*_: object) -> None:
        if threading.get_ident() == thread:  # another thread may use the same network
            progress.check()

    hooks = [] if network is None else [part.register_forward_pre_hook(check) for part in network.modules()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
