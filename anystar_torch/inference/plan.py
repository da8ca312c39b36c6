"""Which tiles a volume is predicted in, so that memory holds them and least is computed twice."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from anystar_torch.inference.scale import Scaling, Triple
from anystar_torch.inference.tile_network import Eye
from anystar_torch.inference.tiles import Tile, cut, padded, size_within, tiles
from anystar_torch.system.memory import Memory, available_memory, free_memory, resident

_RESERVE = (
    0.25e9  # bytes: buffers of libraries (most with AVX-512), a piece of the input while it is resampled
)
_CANDIDATES = 0.1  # share of the memory left to candidates
_LABELS = 8  # bytes per input voxel at the end: the labels, and the copy that is written
_CANDIDATE = 620  # bytes: 96 distances in float16, and in float32 during suppression; measured 390 to 600
_DRAWN = 3200  # bytes: the voxels of an object of 20 voxels, a bit each, in its box
_MOST_DRAWN = 1.3e9  # bytes: more of them are not kept (csrc/nms.hpp), those of a chunk included
_MOST = 16  # tiles in a batch: beyond, a GPU gains nothing


@dataclass(frozen=True)
class Plan:
    """Tiles of one size, and how many are looked at together."""

    tiles: list[Tile]
    batch: int

    @property
    def batches(self) -> list[tuple[Tile, ...]]:
        """The tiles, in order, batch by batch."""
        return [tuple(self.tiles[i : i + self.batch]) for i in range(0, len(self.tiles), self.batch)]

    @property
    def size(self) -> Triple:
        """Of every tile."""
        first = self.tiles[0]
        z, y, x = (b - a for a, b in zip(first.start, first.stop, strict=True))
        return z, y, x


def room(source: Triple, eye: Eye, max_memory: float | int | None, kept: float | int = 0) -> float:
    """How many voxels the network can be shown at once.

    Args:
        source: shape of the input volume, whose labels must find a place later.
        eye: what looks.
        max_memory: bytes this process may take in all, or on a GPU; None for half of what is free.
        kept: bytes of the processor's memory that something else will take meanwhile.

    Raises:
        ValueError: the labels do not fit.
    """
    budget = _budget(source, eye.device, max_memory, kept)
    return min((1 - _CANDIDATES) * budget / eye.bytes_per_voxel, float(eye.most_voxels))


def _budget(source: Triple, device: torch.device, max_memory: float | int | None, kept: float | int) -> float:
    """Bytes that tiles may take; ``max_memory`` counts as no more than there is."""
    if device.type == "cuda":
        return max(Memory.of(device).budget(max_memory) - _RESERVE, 0.0)
    if max_memory is None:
        return free_memory(device) - (kept if device.type == "cpu" else 0)
    if device.type != "cpu":
        return float(min(max_memory, available_memory()))
    max_memory = min(max_memory, resident() + available_memory())
    budget = max_memory - resident() - _RESERVE
    labels = _LABELS * math.prod(source) + kept
    if labels > budget:
        raise ValueError(
            f"program and volume take {resident() / 1e9:.2f} GB, labels and buffers need "
            f"{(labels + _RESERVE) / 1e9:.2f} GB more, and {max_memory / 1e9:.2f} GB may be used; "
            "raise --max-memory or crop the volume"
        )
    return budget


def plan(
    scaling: Scaling, eye: Eye, most: float | int, halo: Callable[[], Triple], batch: int | None
) -> Plan:
    """Choose the tiles of a volume.

    Args:
        scaling: of the volume.
        eye: what looks at the tiles.
        most: voxels there is :func:`room` for.
        halo: asked for the halo, if the volume must be cut.
        batch: tiles to look at together; None to choose.

    Raises:
        ValueError: not even the smallest tile fits.
    """
    divisor = eye.network.divisor
    whole = padded(scaling.shape, divisor)
    if math.prod(whole) <= most:
        return Plan(tiles(scaling.shape, divisor, whole, (0, 0, 0)), 1)
    around = halo()
    try:
        size = size_within(scaling.shape, divisor, around, most / (batch or 1))
    except ValueError as error:
        raise ValueError(
            f"{error} into memory; raise --max-memory, free memory, or use a smaller network"
        ) from error
    pieces = tiles(scaling.shape, divisor, size, around)
    if batch is None:
        batch = 1 if eye.device.type == "cpu" else min(max(int(most / math.prod(size)), 1), _MOST)
    return Plan(pieces, min(batch, len(pieces)))


def smaller(plan: Plan, divisor: Triple, halo: Callable[[], Triple]) -> Plan:
    """A plan for the same tiles that takes half the memory: fewer tiles in a batch, or smaller ones.

    Args:
        plan: what was too large.
        divisor: sizes and starts of tiles are multiples of it.
        halo: asked for the halo, if tiles must be cut.

    Raises:
        ValueError: not even the smallest tile would fit.
    """
    if plan.batch > 1:
        return Plan(plan.tiles, plan.batch // 2)
    around = halo()
    try:
        size = size_within(plan.size, divisor, around, math.prod(plan.size) / 2)
    except ValueError as error:
        raise ValueError(
            f"the device's memory is full with a tile of {plan.size} voxels, and {error}; free memory, or use "
            "another device or a smaller network"
        ) from error
    return Plan([piece for tile in plan.tiles for piece in cut(tile, divisor, size, around)], 1)


def check_room_for(candidates: int, source: Triple, max_memory: float | int) -> None:
    """Refuse to suppress what would take more memory than may be used.

    Raises:
        ValueError: there are too many candidates.
    """
    drawn = min(_DRAWN * candidates, _MOST_DRAWN)
    need = resident() + _CANDIDATE * candidates + drawn + _LABELS * math.prod(source)
    if need > max_memory:
        raise ValueError(
            f"{candidates} candidates need {need / 1e9:.1f} GB in all to be suppressed, and {max_memory / 1e9:.1f} GB "
            "may be used; raise --prob-thresh or --max-memory"
        )
