"""Suppression while tiles are still predicted: with a GPU, the host is idle then."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np
import torch

from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.suppression_in_rounds import SuppressionInRounds
from anystar_torch.inference.candidates import Survivors
from anystar_torch.inference.selection import TileCandidates
from anystar_torch.inference.tiles import Tile


class EarlySuppression:
    """Suppresses candidates in a thread as they arrive; the survivors are those of one suppression at the end.

    Use it in a ``with`` statement, which ends the thread.

    Args:
        rays: rays of the network, on the CPU.
        nms_thresh: overlap above which the worse of two candidates is removed.
    """

    def __init__(self, rays: Rays, nms_thresh: float) -> None:
        self._suppression = SuppressionInRounds(rays, nms_thresh)
        self._thread = ThreadPoolExecutor(1, "suppression")
        self._last: Future[None] | None = None
        self._received = 0

    def __enter__(self) -> "EarlySuppression":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def receive(self, parts: Sequence[TileCandidates], later: Sequence[Tile]) -> None:
        """Take the candidates of some tiles; returns at once.

        Args:
            parts: candidates of tiles.
            later: tiles whose candidates have not been received.

        Raises:
            ValueError: candidates received before are not valid.
        """
        if self._last is not None and self._last.done():
            self._last.result()
        self._received += 1
        self._last = self._thread.submit(self._decide, self._received, list(parts), list(later))

    def finish(self) -> Survivors:
        """Wait for the result.

        Returns:
            Which candidates survive, in the order in which they were received.
        """
        if self._last is not None:
            self._last.result()
        kept = self._suppression.finish().numpy()
        return Survivors(self._suppression.nms_thresh, kept)

    def _decide(self, number: int, parts: list[TileCandidates], later: list[Tile]) -> None:
        """Add candidates, and decide what later ones cannot change unless the next ones have arrived."""
        for points, distances, scores in parts:
            self._suppression.add(
                torch.from_numpy(points),
                torch.from_numpy(distances.astype(np.float32)),
                torch.from_numpy(scores),
            )
        if number == self._received and later:
            boxes = [(tile.low, tuple(n - 1 for n in tile.high)) for tile in later]
            self._suppression.settle(torch.tensor(boxes, dtype=torch.int32))
