"""The network applied to tiles: on a device, in a precision, with or without test-time augmentation."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float32
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.inference.coarse_pass import CoarsePass
from anystar_torch.inference.network_memory import bytes_in_parts, bytes_of_whole_tiles, elements_per_voxel
from anystar_torch.inference.receptive_field import effective_receptive_field
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.selection import TileCandidates, owned_grid_points, select, start_collecting
from anystar_torch.inference.test_time_augmentation import Mirror, all_mirrors, mean_over_mirrors
from anystar_torch.inference.tile_parts import (
    TileProbability,
    probabilities_in_parts,
    select_in_parts,
    start_collecting_probabilities,
)
from anystar_torch.inference.tiles import Tile, margin_of, size_of
from anystar_torch.inference.transfer import Transfer, transfer_to
from anystar_torch.network.stardist import Prediction, StarDist
from anystar_torch.system.convolution import SmallConvolutions
from anystar_torch.system.device import exact_float32, largest_tensor, preferred_precision, without_overflow


@dataclass(frozen=True)
class TileNetwork:
    """A network and how it is applied to tiles.

    Attributes:
        network: in evaluation mode, on ``device``.
        device: where it computes.
        tta: whether predictions are means over the eight mirror images.
        chosen_precision: number type of the convolutions; None for what suits device and network.
        receptive_field: effective receptive field in voxels to each side, (z, y, x); None to measure
            it when it is needed.
        smallest_tile: extent in voxels that the network sees along every axis at least. Smaller tiles are computed with
            more voxels around them, beyond the faces of the volume its mirror image; 0 for tiles as they are.
        chosen_transfer: how voxels reach the device and candidates the host; None for what suits the device.
    """

    network: StarDist
    device: torch.device
    tta: bool = False
    chosen_precision: torch.dtype | None = None
    receptive_field: Triple | None = None
    smallest_tile: int = 0
    chosen_transfer: Transfer | None = field(default=None, compare=False)

    @cached_property
    def precision(self) -> torch.dtype:
        """Number type of the convolutions."""
        return self.chosen_precision or without_overflow(preferred_precision(self.device), self.network)

    @cached_property
    def transfer(self) -> Transfer:
        """How voxels reach the device and candidates the host."""
        return self.chosen_transfer or transfer_to(self.device)

    @cached_property
    def halo(self) -> Triple:
        """Voxels around what a tile owns, (z, y, x): the effective receptive field, given or measured.

        It is measured in float32 without TensorFloat-32, for every precision.
        """
        if self.receptive_field is not None:
            return self.receptive_field
        return effective_receptive_field(
            lambda image: self.forward(image, torch.float32),
            self.network.divisor,
            self.network.grid,
            self.device,
        )

    @cached_property
    def bytes_per_voxel(self) -> float:
        """Bytes per voxel of a tile while it is predicted, at most."""
        if self.in_parts:
            return self._bytes_in_parts[0]
        return bytes_of_whole_tiles(self.network, overlapped=self.transfer.overlapped, tta=self.tta)

    @cached_property
    def share_of_halo(self) -> float:
        """Memory of a voxel in the halo of a tile over that of a voxel that the tile owns."""
        if not self.in_parts:
            return 1.0
        inside, outside = self._bytes_in_parts
        return outside / inside

    @cached_property
    def _bytes_in_parts(self) -> tuple[float, float]:
        return bytes_in_parts(self.network)

    @cached_property
    def max_voxels(self) -> int:
        """Voxels of a batch with which no tensor is too large for the operators of the device."""
        if self.device.type == "cpu":
            return sys.maxsize
        return int(largest_tensor(self.device) / elements_per_voxel(self.network, self.network.divisor))

    def candidates(
        self,
        volume: ResampledVolume,
        tiles: Sequence[Tile],
        prob_thresh: float | int,
        peaks_only: bool = False,
    ) -> list[TileCandidates]:
        """The candidates of a batch of tiles. They are computed again in float32 if the output is not finite.

        Args:
            volume: the volume.
            tiles: tiles of one size.
            prob_thresh: candidates have a higher probability.
            peaks_only: whether candidates with a better neighbour on the grid are left out.
        """
        found, finite = self.start(volume, tiles, prob_thresh, peaks_only=peaks_only)()
        if not finite and self.precision != torch.float32:
            found, _ = self.start(volume, tiles, prob_thresh, torch.float32, peaks_only=peaks_only)()
        return found

    def start(
        self,
        volume: ResampledVolume,
        tiles: Sequence[Tile],
        prob_thresh: float | int,
        precision: torch.dtype | None = None,
        *,
        peaks_only: bool = False,
        coarse: CoarsePass | None = None,
    ) -> Callable[[], tuple[list[TileCandidates], bool]]:
        """Launch the prediction of a batch of tiles. On CUDA the host does not wait.

        Args:
            volume: the volume.
            tiles: tiles of one size.
            prob_thresh: candidates have a higher score.
            precision: number type of the convolutions; None for :attr:`precision`.
            peaks_only: whether candidates with a better neighbour on the grid are left out.
            coarse: coarse pass, with which probabilities are combined.

        Returns:
            A function that waits for the candidates of each tile, and also returns whether all predictions are finite.
        """
        if self.in_parts and not peaks_only:
            found = [select_in_parts(self, volume, tile, prob_thresh, precision, coarse) for tile in tiles]
            return start_collecting(found, self.transfer)
        probability, distances = self._predict_tiles(volume, tiles, precision)
        if coarse is not None:
            pairs = zip(probability, tiles, strict=True)
            probability = torch.stack([coarse.combine(*pair, self.transfer) for pair in pairs])
        if peaks_only:
            highest = torch.nn.functional.max_pool3d(probability, 3, 1, 1)
            probability = torch.where(probability < highest, 0.0, probability)
        selections = [
            select(probability[i], distances[i], tile, volume.shape, self.network.grid, prob_thresh)
            for i, tile in enumerate(tiles)
        ]
        return start_collecting(selections, self.transfer)

    def start_probability(
        self, volume: ResampledVolume, tiles: Sequence[Tile], precision: torch.dtype | None = None
    ) -> Callable[[], tuple[list[TileProbability], bool]]:
        """Launch the prediction of a batch of tiles of which only the probabilities are needed.

        Args:
            volume: the volume.
            tiles: tiles of one size.
            precision: number type of the convolutions; None for :attr:`precision`.

        Returns:
            A function that waits for the probabilities that each tile owns, and also returns whether all are finite.
        """
        found = self._owned_probabilities(volume, tiles, precision)
        return start_collecting_probabilities(found, self.network.grid, self.transfer)

    @cached_property
    def in_parts(self) -> bool:
        """Whether a tile is predicted some planes at a time, and only as far as the voxels that it owns need it.

        It takes half the memory and less time on a CPU. A GPU computes larger pieces.
        """
        return self.device.type == "cpu" and not self.tta and type(self.network) is StarDist

    def _owned_probabilities(
        self, volume: ResampledVolume, tiles: Sequence[Tile], precision: torch.dtype | None
    ) -> Iterator[tuple[Float32[Tensor, "d h w"], Triple]]:
        """The probabilities that tiles own, each with the voxel of its first grid point."""
        if self.in_parts:
            for tile in tiles:
                yield from probabilities_in_parts(self, volume, tile, precision)
            return
        probability = self._predict_tiles(volume, tiles, precision).probability
        for values, tile in zip(probability, tiles, strict=True):
            inside, first = owned_grid_points(tile, volume.shape, self.network.grid)
            yield values[0][inside].contiguous(), first

    @torch.inference_mode()
    def __call__(
        self, image: Float32[Tensor, "b 1 d h w"], precision: torch.dtype | None = None
    ) -> Prediction:
        """The prediction of boxes, with test-time augmentation if it is on.

        Args:
            image: normalised boxes. With test-time augmentation they start ``grid - 1`` voxels early on every axis.
            precision: number type of the convolutions; None for :attr:`precision`.
        """
        if not self.tta:
            return self.forward(image, precision)
        return mean_over_mirrors(
            lambda box: self.forward(box, precision), image, self._mirrors, self.network.grid
        )

    @torch.inference_mode()
    def forward(
        self, image: Float32[Tensor, "b 1 d h w"], precision: torch.dtype | None = None
    ) -> Prediction:
        """One forward pass over boxes, without test-time augmentation.

        Args:
            image: normalised boxes.
            precision: number type of the convolutions; None for :attr:`precision`. For float32, TensorFloat-32 is off.
        """
        # Convolutions in half precision need channels last: otherwise every layer converts its input and output.
        last = self.device.type == "cpu" or (precision or self.precision) != torch.float32
        layout = torch.channels_last_3d if last else torch.contiguous_format
        with self.computing(precision):
            prediction: Prediction = self.network(image.to(memory_format=layout))
        return prediction

    @contextmanager
    def computing(self, precision: torch.dtype | None) -> Iterator[None]:
        """A context in which the network computes, without gradients.

        Args:
            precision: number type of the convolutions; None for :attr:`precision`.
        """
        precision = precision or self.precision
        lower = precision != torch.float32
        known = torch.amp.is_autocast_available(self.device.type)
        context = torch.autocast(self.device.type, precision, enabled=lower) if known else nullcontext()
        small = SmallConvolutions() if self.device.type == "cpu" and not lower else nullcontext()
        with torch.inference_mode(), context, nullcontext() if lower else exact_float32(), small:
            yield

    def _predict_tiles(
        self, volume: ResampledVolume, tiles: Sequence[Tile], precision: torch.dtype | None
    ) -> Prediction:
        margin = self.margin(size_of(tiles[0]))
        boxes = [volume.box(*self.box(tile, margin), self.transfer) for tile in tiles]
        found = self(torch.cat(boxes) if len(boxes) > 1 else boxes[0], precision)
        if not any(margin):
            return found
        inside = [
            slice(m // g, m // g + n // g)
            for m, n, g in zip(margin, size_of(tiles[0]), self.network.grid, strict=True)
        ]
        return Prediction(*(values[:, :, inside[0], inside[1], inside[2]] for values in found))

    def margin(self, size: Triple) -> Triple:
        """Voxels that are computed on each side of a tile beside it.

        They are multiples of the grid, and the tile with both margins is a multiple of the divisor of the network.

        Args:
            size: size of the tile, (z, y, x), a multiple of the divisor.
        """
        return margin_of(size, self.smallest_tile, self.network.divisor, self.network.grid)

    def box(self, tile: Tile, margin: Triple) -> tuple[Triple, Triple]:
        """Start and stop of the box that is computed for a tile.

        Args:
            tile: the tile.
            margin: what :meth:`margin` returned for its size.
        """
        z, y, x = (a - m for a, m in zip(tile.start, margin, strict=True))
        d, h, w = (b + m for b, m in zip(tile.stop, margin, strict=True))
        return self._box_start((z, y, x)), (d, h, w)

    def _box_start(self, start: Triple) -> Triple:
        """The start of a tile's box; with test-time augmentation it has a margin for the grid of mirror images."""
        if not self.tta:
            return start
        z, y, x = (s - (g - 1) for s, g in zip(start, self.network.grid, strict=True))
        return z, y, x

    @cached_property
    def _mirrors(self) -> list[Mirror]:
        return all_mirrors(self.network.rays.to(self.device))
