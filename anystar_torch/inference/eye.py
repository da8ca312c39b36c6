"""How a box of the volume is shown to the network: on a device, in its precision, with mirror images or without."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference.candidates import Found, gather, owned
from anystar_torch.inference.device import precision
from anystar_torch.inference.flips import Mirror, averaged, mirrors
from anystar_torch.inference.memory import bytes_per_voxel
from anystar_torch.inference.multiscale import SecondLook
from anystar_torch.inference.normalise import Window
from anystar_torch.inference.progress import Tick
from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.tiles import Tile
from anystar_torch.stardist import Prediction, StarDist


@dataclass(frozen=True)
class Eye:
    """A network that looks at tiles.

    Attributes:
        network: in evaluation mode, on ``device``.
        device: where it computes.
        flips: whether it is shown the seven mirror images as well, and the mean is taken.
    """

    network: StarDist
    device: torch.device
    flips: bool = False

    def candidates(
        self,
        volume: NDArray[Any],
        scaling: Scaling,
        grey: Window,
        tiles: Sequence[Tile],
        prob_thresh: float | int,
        peaks_only: bool = False,
        second: SecondLook | None = None,
    ) -> list[Found]:
        """The candidates of tiles of one size, which are looked at together.

        Args:
            volume: ``[D, H, W]``, the input.
            scaling: where the tiles lie in it.
            grey: how its grey values are normalised.
            tiles: a batch of them.
            prob_thresh: what candidates need.
            peaks_only: leave out candidates that a neighbour on the grid outdoes.
            second: a look from further away, whose probability counts as much.
        """
        probability, distances = self._shown(volume, scaling, grey, tiles)
        if second is not None:
            probability = torch.stack(
                [second.combined(*pair) for pair in zip(probability, tiles, strict=True)]
            )
        if peaks_only:
            highest = torch.nn.functional.max_pool3d(probability, 3, 1, 1)
            probability = torch.where(probability < highest, 0.0, probability)
        return [
            gather(probability[i], distances[i], tile, scaling.shape, self.network.grid, prob_thresh)
            for i, tile in enumerate(tiles)
        ]

    def second_look(
        self,
        volume: NDArray[Any],
        far: Scaling,
        near: Scaling,
        grey: Window,
        batches: Sequence[Sequence[Tile]],
        tick: Tick,
    ) -> SecondLook:
        """A look at all of the volume from further away, of which the probability is kept."""
        grid = self.network.grid
        z, y, x = (-(-size // step) for size, step in zip(far.shape, grid, strict=True))
        whole = torch.zeros(z, y, x)
        for done, tiles in enumerate(batches):
            tick(done, len(batches))
            probability = self._shown(volume, far, grey, tiles).probability
            for seen, tile in zip(probability, tiles, strict=True):
                inside, first = owned(tile, far.shape, grid)
                part = seen[0][inside]
                place = tuple(
                    slice(a // g, a // g + n) for a, g, n in zip(first, grid, part.shape, strict=True)
                )
                whole[place] = part.cpu()
        return SecondLook(whole, far, near, grid)

    def _shown(
        self, volume: NDArray[Any], scaling: Scaling, grey: Window, tiles: Sequence[Tile]
    ) -> Prediction:
        boxes = [scaling.box(volume, self._early(tile.start), tile.stop, grey, self.device) for tile in tiles]
        return self(torch.cat(boxes) if len(boxes) > 1 else boxes[0])

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Prediction:
        """Probability and distances of boxes ``[B, 1, D, H, W]``, float32; with flips they start a margin early."""
        if not self.flips:
            return self.look(image)
        return averaged(self.look, image, self._mirrors, self.network.grid)

    @torch.inference_mode()
    def look(self, image: Tensor, kind: torch.dtype | None = None) -> Prediction:
        """Probability and distances of boxes, whatever ``flips``; in the device's precision, or another."""
        kind = kind or precision(self.device)
        last = self.device.type == "cpu" or kind == torch.bfloat16
        layout = torch.channels_last_3d if last else torch.contiguous_format
        with torch.autocast(self.device.type, kind, enabled=kind != torch.float32):
            prediction: Prediction = self.network(image.to(memory_format=layout))
        return prediction

    @cached_property
    def bytes_per_voxel(self) -> float:
        """Memory a voxel of a tile takes while it is looked at, at most."""
        network = self.network
        every = bytes_per_voxel(network, network.divisor)
        if not self.flips:
            return every
        gz, gy, gx = network.grid
        return every + 4 * (len(network.rays) + 1) / (gz * gy * gx) + 8  # the mean so far, and the box turned

    @cached_property
    def _mirrors(self) -> list[Mirror]:
        return mirrors(self.network.rays.to(self.device))

    def _early(self, start: Triple) -> Triple:
        """Where a box begins so that mirror images have their grid points in the right place."""
        if not self.flips:
            return start
        z, y, x = (s - (g - 1) for s, g in zip(start, self.network.grid, strict=True))
        return z, y, x
