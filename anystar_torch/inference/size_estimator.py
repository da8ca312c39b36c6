"""Estimate of the object size: the network is applied at a few scales, from coarse to fine, until two agree.

At every scale the network sees the volume, or a box of it, resampled as if objects had an assumed diameter. If the
assumed diameter is too large, the objects it finds appear smaller than expected; at the right scale the predicted size
is the assumed one. How scales are chosen is in :mod:`anystar_torch.inference.size_search`. An estimate processes about
a third as many voxels as the prediction of the volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

from anystar_torch.arrays import Triple
from anystar_torch.inference.candidates import merge
from anystar_torch.inference.coarse_pass import COARSE_FACTOR
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.object_size import ObjectSize, SizeEstimate
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.size_measurement import (
    Measurement,
    Place,
    box_around,
    box_size,
    measure_candidates,
    most_textured_place,
)
from anystar_torch.inference.size_search import MIN_DIAMETER, Measure, ScaleSearch
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile, padded
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import out_of_memory, release
from anystar_torch.system.progress import Tick

_MAX_THRESHOLD = 0.35  # candidates count from this score on, or from the model's threshold if it is lower
_MAX_CANDIDATES = 1_000  # of a scale: the best are enough to measure it, however noisy the volume is
_MAX_VOXELS = 96**3  # that the network processes at a scale
_MIN_SUPPORT = 0.6  # share of the votes below which an estimate is called uncertain
_AS_NOISE = 5.0  # voxels of the finest axis: estimates in noise without objects are smaller
_CONTEXT = 2.0  # median diameters that the network sees along every axis, at least
_REACH = 1.5, 3.0  # the ratio of neighbouring scales as long as nothing is known lies between
_ROUNDING = 1.01, 1.02, 1.03  # an estimate is rounded up by one of these factors
_MUCH_LESS = 0.91  # voxels of the prediction with the rounded estimate over those without, at most
_FINER = 1.05  # ratio of the diameters that are tried for the coarsest scale
_SMALLEST = 3.1  # median diameters along each side of a cube of as many voxels as the smallest box


@dataclass(frozen=True)
class SizeEstimator:
    """Estimates the diameter of the median object of a volume.

    Attributes:
        tile_network: the network. Test-time augmentation is not used.
        config: its configuration.
        max_voxels: voxels that the network can process at once.
        coarse_pass: whether the prediction has a coarse pass, which the estimate may take time in proportion to.
    """

    tile_network: TileNetwork
    config: ModelConfig
    max_voxels: float | int
    coarse_pass: bool = True

    def estimate(self, volume: InputVolume, tick: Tick) -> ObjectSize:
        """The size of the objects; the one that the network was trained on if it cannot be estimated.

        Args:
            volume: the volume.
            tick: receives the number of scales that are done, and that of all scales, as far as it is known.
        """
        median = self.config.diameter_band[1]
        if not self.config.sizes_known:
            message = "no diameter was given, and the object sizes of the model are unknown: the scale is not changed"
            return ObjectSize(median, warnings=(SizeWarning(message, ("diameter",)),))
        if volume.intensity_range.constant:
            return ObjectSize(median)
        found = self._search(volume, min(_MAX_VOXELS, self.max_voxels), tick)
        if found is None:
            message = f"no object was found at any scale; a diameter of {median:g} voxels is assumed"
            return ObjectSize(median, warnings=(SizeWarning(message, ("diameter",)),))
        found = replace(found, diameter=self._cheapest(volume, found.diameter))
        message = ""
        if found.support < _MIN_SUPPORT:
            message = f"the estimated diameter of {found.diameter:.3g} voxels is uncertain: check the result"
        elif found.diameter < _AS_NOISE:
            message = (
                f"the estimated diameter of {found.diameter:.3g} voxels is also that of noise: "
                "check whether the volume holds objects"
            )
        return ObjectSize(found.diameter, found, (SizeWarning(message, ("diameter",)),) if message else ())

    def _search(self, volume: InputVolume, max_voxels: float | int, tick: Tick) -> SizeEstimate | None:
        """The estimate of a search over scales; in smaller boxes if the memory of the device is full."""
        least = min(self._least, max_voxels)
        low, median, _ = self.config.diameter_band
        reach = min(max(median / low, _REACH[0]), _REACH[1])
        measure = self._measurement(volume)
        search = ScaleSearch(measure, lambda d: self._cost(volume, d), least, max_voxels, reach)
        try:
            return search.run(self._coarsest(volume), tick)
        except RuntimeError as error:
            max_voxels = max_voxels / 2
            if not out_of_memory(error) or max_voxels < math.prod(self.tile_network.network.divisor):
                raise
        release(self.tile_network.device)  # outside of the handler: its traceback holds the tensors
        return self._search(volume, max_voxels, tick)

    @property
    def _least(self) -> float:
        """Voxels of the smallest box."""
        step = np.array(self.tile_network.network.rays.anisotropy)
        return float((_SMALLEST * self.config.diameter_band[1] * min(step) / step).prod())

    @cached_property
    def _seen_by(self) -> TileNetwork:
        """The network without test-time augmentation, with no more mirrored context than an object needs."""
        enough = math.ceil(_CONTEXT * self.config.diameter_band[1])
        return replace(
            self.tile_network, tta=False, smallest_tile=min(self.tile_network.smallest_tile, enough)
        )

    def _coarsest(self, volume: InputVolume) -> float:
        """The smallest diameter at which the whole volume has no more voxels than the smallest box."""
        diameter = volume.longest_side / 2
        while diameter > MIN_DIAMETER:
            size = padded(self._scaling(volume, diameter / _FINER).shape, self.tile_network.network.divisor)
            if processed(size, self._seen_by) > self._least:
                break
            diameter /= _FINER
        return diameter

    def _scaling(self, volume: InputVolume, diameter: float) -> Scaling:
        rays = self.tile_network.network.rays
        return Scaling.of(volume.shape, volume.spacing, diameter, self.config.diameter_band[1], rays)

    def _cost(self, volume: InputVolume, diameter: float) -> float:
        """Voxels that the network processes when the volume is predicted, without the halos of tiles."""
        factors = (1.0, COARSE_FACTOR) if self.coarse_pass else (1.0,)
        shapes = [self._scaling(volume, factor * diameter).shape for factor in factors]
        sizes = [padded(shape, self.tile_network.network.divisor) for shape in shapes]
        return float(sum(processed(size, self.tile_network) for size in sizes))

    def _cheapest(self, volume: InputVolume, diameter: float) -> float:
        """The diameter, or one up to 3 % larger if tiles then need much less padding.

        Sizes of tiles are multiples of the divisor, so that the work grows in steps. No estimate is accurate to 3 %.
        """
        for factor in _ROUNDING:
            if self._cost(volume, factor * diameter) < _MUCH_LESS * self._cost(volume, diameter):
                return factor * diameter
        return diameter

    def _measurement(self, volume: InputVolume) -> Measure:
        """The function that applies the network to the part of the volume with most objects."""
        tile_network = self._seen_by
        network, median = tile_network.network, self.config.diameter_band[1]
        thresh = min(self.config.prob_thresh, _MAX_THRESHOLD)
        textured = lru_cache(1)(lambda: most_textured_place(volume.voxels, volume.intensity_range))

        def place(found: Sequence[Measurement], extent: Sequence[float]) -> Place:
            if min(extent) >= 1:
                return 0.5, 0.5, 0.5
            known = [one for one in found if one.enough]
            return known[-1].busiest_place(extent) if known else textured()

        def measure(diameter: float, max_voxels: float | int, found: Sequence[Measurement]) -> Measurement:
            scaling = self._scaling(volume, diameter)
            size = box_size(scaling.shape, network.divisor, max_voxels)
            extent = [n / s for n, s in zip(size, scaling.shape, strict=True)]
            start, stop = box_around(place(found, extent), scaling.shape, size)
            resampled = ResampledVolume(volume.voxels, scaling, volume.intensity_range)
            tiles = [Tile(start, stop, start, stop)]
            parts = tile_network.candidates(resampled, tiles, thresh, peaks_only=True)
            best = merge(parts, network.rays.to("cpu"), scaling, diameter, thresh).first(_MAX_CANDIDATES)
            work = processed(size, tile_network)
            return measure_candidates(best, start, stop, median, self.config.nms_thresh, work, volume.beyond)

        return measure


def processed(size: Triple, tile_network: TileNetwork) -> int:
    """Voxels that a network processes for a tile, with the mirrored context of thin ones.

    Args:
        size: size of the tile, (z, y, x).
        tile_network: the network.
    """
    return math.prod(n + 2 * m for n, m in zip(size, tile_network.margin(size), strict=True))
