"""How a box of the volume is shown to the network: on a device, in its precision, with mirror images or without."""

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.inference.candidates import Found, collected, owned, select
from anystar_torch.inference.coarse_pass import SecondLook
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.memory import bytes_per_voxel, elements_per_voxel
from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.test_time_augmentation import Mirror, averaged, mirrors
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.transfer import Transfer, transfer_to
from anystar_torch.network.stardist import Prediction, StarDist
from anystar_torch.system.device import exact_float32, largest_tensor, precision, without_overflow

Part = tuple[tuple[slice, slice, slice], NDArray[Any]]
"""Where a tile's probability stands in that of the whole volume, and what it is."""


@dataclass(frozen=True)
class View:
    """A volume as the network sees it.

    Attributes:
        volume: ``[D, H, W]``, the input.
        scaling: where network voxels lie in it.
        grey: how its grey values are normalised.
    """

    volume: NDArray[Any]
    scaling: Scaling
    grey: IntensityRange


@dataclass(frozen=True)
class Eye:
    """A network that looks at tiles.

    Attributes:
        network: in evaluation mode, on ``device``.
        device: where it computes.
        flips: whether it is shown the seven mirror images as well, and the mean is taken.
        copies: how voxels reach the device and candidates come back; None for what suits it.
    """

    network: StarDist
    device: torch.device
    flips: bool = False
    copies: Transfer | None = field(default=None, compare=False)

    def candidates(
        self,
        volume: NDArray[Any],
        scaling: Scaling,
        grey: IntensityRange,
        tiles: Sequence[Tile],
        prob_thresh: float | int,
        peaks_only: bool = False,
    ) -> list[Found]:
        """The candidates of tiles of one size, which are looked at together.

        Args:
            volume: ``[D, H, W]``, the input.
            scaling: where the tiles lie in it.
            grey: how its grey values are normalised.
            tiles: a batch of them.
            prob_thresh: what candidates need.
            peaks_only: leave out candidates that a neighbour on the grid outdoes.
        """
        view = View(volume, scaling, grey)
        found, finite = self.start(view, tiles, prob_thresh, peaks_only=peaks_only)()
        if not finite and self.kind != torch.float32:
            found, _ = self.start(view, tiles, prob_thresh, torch.float32, peaks_only=peaks_only)()
        return found

    def start(
        self,
        view: View,
        tiles: Sequence[Tile],
        prob_thresh: float | int,
        kind: torch.dtype | None = None,
        peaks_only: bool = False,
        second: SecondLook | None = None,
    ) -> Callable[[], tuple[list[Found], bool]]:
        """Launch the work on tiles of one size; on CUDA the host does not wait for any of it.

        Args:
            view: the volume.
            tiles: a batch of them.
            prob_thresh: what candidates need.
            kind: what convolutions compute in; None for :attr:`kind`.
            peaks_only: leave out candidates that a neighbour on the grid outdoes.
            second: a look from further away, whose probability counts as much.

        Returns:
            What waits for the candidates of each tile, and says whether all that the network said of them is finite.
        """
        probability, distances = self._shown(view, tiles, kind)
        if second is not None:
            pairs = zip(probability, tiles, strict=True)
            probability = torch.stack([second.combined(*pair, self.transfer) for pair in pairs])
        if peaks_only:
            highest = torch.nn.functional.max_pool3d(probability, 3, 1, 1)
            probability = torch.where(probability < highest, 0.0, probability)
        shape, grid = view.scaling.shape, self.network.grid
        selections = [
            select(probability[i], distances[i], tile, shape, grid, prob_thresh)
            for i, tile in enumerate(tiles)
        ]
        return collected(selections, self.transfer)

    def start_probability(
        self, view: View, tiles: Sequence[Tile], kind: torch.dtype | None = None
    ) -> Callable[[], tuple[list[Part], bool]]:
        """Launch the work on tiles of which the probability alone is kept; otherwise as :meth:`start`."""
        grid = self.network.grid
        probability = self._shown(view, tiles, kind).probability
        places, parts = [], []
        for seen, tile in zip(probability, tiles, strict=True):
            inside, first = owned(tile, view.scaling.shape, grid)
            part = seen[0][inside].contiguous()
            z, y, x = (slice(a // g, a // g + n) for a, g, n in zip(first, grid, part.shape, strict=True))
            places.append((z, y, x))
            parts.append(part)
        known = self.transfer.later(torch.stack([part.isfinite().all() for part in parts]))

        def finish() -> tuple[list[Part], bool]:
            finite = bool(known().all())
            return list(zip(places, self.transfer.fetch(parts), strict=True)), finite

        return finish

    def _shown(self, view: View, tiles: Sequence[Tile], kind: torch.dtype | None) -> Prediction:
        boxes = [
            view.scaling.box(
                view.volume, self._early(tile.start), tile.stop, view.grey, self.device, self.transfer
            )
            for tile in tiles
        ]
        return self(torch.cat(boxes) if len(boxes) > 1 else boxes[0], kind)

    @torch.inference_mode()
    def __call__(self, image: Tensor, kind: torch.dtype | None = None) -> Prediction:
        """Probability and distances of boxes ``[B, 1, D, H, W]``, float32; with flips they start a margin early."""
        if not self.flips:
            return self.look(image, kind)
        return averaged(lambda box: self.look(box, kind), image, self._mirrors, self.network.grid)

    @torch.inference_mode()
    def look(self, image: Tensor, kind: torch.dtype | None = None) -> Prediction:
        """Probability and distances of boxes, whatever ``flips``; in :attr:`kind`, or another precision.

        Where float32 is asked for, TensorFloat-32 is not used.
        """
        kind = kind or self.kind
        # convolutions in half precision want channels last: other layouts are converted, and back, by every layer
        last = self.device.type == "cpu" or kind != torch.float32
        layout = torch.channels_last_3d if last else torch.contiguous_format
        lower = kind != torch.float32
        known = torch.amp.is_autocast_available(self.device.type)
        context = torch.autocast(self.device.type, kind, enabled=lower) if known else nullcontext()
        with context, nullcontext() if lower else exact_float32():
            prediction: Prediction = self.network(image.to(memory_format=layout))
        return prediction

    @property
    def kind(self) -> torch.dtype:
        """What convolutions compute in."""
        return without_overflow(precision(self.device), self.network)

    @cached_property
    def transfer(self) -> Transfer:
        """How voxels reach the device and candidates come back."""
        return self.copies or transfer_to(self.device)

    @cached_property
    def bytes_per_voxel(self) -> float:
        """Memory a voxel of a tile takes while it is looked at, at most."""
        network = self.network
        every = bytes_per_voxel(network, network.divisor)
        points = 1 / math.prod(network.grid)
        rays = len(network.rays)
        if self.transfer.overlapped:  # the rows of two tiles: one is copied while the other is computed
            every += 2 * points * (2 * rays + 16)
        if self.flips:  # the mean so far, and the box turned
            every += 4 * points * (rays + 1) + 8
        return every

    @cached_property
    def most_voxels(self) -> int:
        """Voxels of a batch of tiles with which no tensor is larger than the device's operators can index."""
        if self.device.type == "cpu":
            return sys.maxsize
        return int(largest_tensor(self.device) / elements_per_voxel(self.network, self.network.divisor))

    @cached_property
    def _mirrors(self) -> list[Mirror]:
        return mirrors(self.network.rays.to(self.device))

    def _early(self, start: Triple) -> Triple:
        """Where a box begins so that mirror images have their grid points in the right place."""
        if not self.flips:
            return start
        z, y, x = (s - (g - 1) for s, g in zip(start, self.network.grid, strict=True))
        return z, y, x
