"""A pass over a volume: the network sees every tile at one scale, as a :class:`Pipeline` orders it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from anystar_torch.inference.candidates import Found
from anystar_torch.inference.coarse_pass import SecondLook
from anystar_torch.inference.pipeline import Events, Pipeline, Start, T
from anystar_torch.inference.plan import Plan, smaller
from anystar_torch.inference.scale import Triple
from anystar_torch.inference.tile_network import Eye, Part, View
from anystar_torch.inference.tiles import Tile
from anystar_torch.system.progress import Tick


@dataclass(frozen=True)
class Passes:
    """The passes of one prediction.

    Attributes:
        eye: the network.
        halo: asked for the halo where tiles must be cut smaller than planned.
        events: what did not go as planned in any of them.
    """

    eye: Eye
    halo: Callable[[], Triple]
    events: Events = field(default_factory=Events)

    def candidates(
        self, view: View, plan: Plan, prob_thresh: float | int, second: SecondLook | None, tick: Tick
    ) -> list[Found]:
        """The candidates of all tiles.

        Args:
            view: the volume.
            plan: its tiles.
            prob_thresh: what candidates need.
            second: a look from further away, whose probability counts as much.
            tick: told how many batches are done.
        """

        def start(tiles: tuple[Tile, ...], kind: torch.dtype) -> Callable[[], tuple[list[Found], bool]]:
            return self.eye.start(view, tiles, prob_thresh, kind, second=second)

        return list(self._pipeline(start).run(plan, self.eye.kind, tick))

    def probability(self, view: View, plan: Plan, tick: Tick) -> Tensor:
        """The probability of all of the volume, float32 ``[d, h, w]`` on the CPU.

        Args:
            view: the volume.
            plan: its tiles.
            tick: told how many batches are done.
        """

        def start(tiles: tuple[Tile, ...], kind: torch.dtype) -> Callable[[], tuple[list[Part], bool]]:
            return self.eye.start_probability(view, tiles, kind)

        shape = [
            -(-size // step) for size, step in zip(view.scaling.shape, self.eye.network.grid, strict=True)
        ]
        whole = torch.zeros(shape)
        for place, part in self._pipeline(start).run(plan, self.eye.kind, tick):
            whole[place] = torch.from_numpy(part)
        return whole

    def _pipeline(self, start: Start[T]) -> Pipeline[T]:
        eye, divisor = self.eye, self.eye.network.divisor
        shrunk = partial(smaller, divisor=divisor, halo=self.halo)
        return Pipeline(start, shrunk, eye.device, eye.transfer.overlapped, self.events)
