"""The plan of a pass: tiles that fit into memory and with which least is computed more than once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from anystar_torch.arrays import Triple
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile, best_tile_size, cut_tile, cut_volume, padded
from anystar_torch.system.memory import Memory, available_memory, resident

RESERVE = 0.3e9
"""Bytes for buffers of libraries (most with AVX-512), for pages of their files that are read later (up to 0.1 GB),
and for a piece of the input while it is resampled."""

PRECISIONS = (torch.float32, torch.float16, torch.bfloat16)
"""Number types of the convolutions."""

_CANDIDATES = 0.1  # share of the memory that is left for candidates
_LABELS = 8  # bytes per input voxel at the end: the labels, and the copy that is written
_CANDIDATE = 620  # bytes: 96 distances in float16, and in float32 during suppression; measured 390 to 600
_RENDERED = 3200  # bytes: the voxels of an object of 20 voxels during suppression, one bit each, in its box
_MAX_RENDERED = 1.3e9  # bytes: the suppression does not keep more of them, those of a chunk included
_MAX_BATCH = 16  # tiles: a GPU gains nothing from larger batches


@dataclass(frozen=True)
class TileOptions:
    """How tiles are chosen and computed. They change time and memory, and the objects only within rounding.

    Attributes:
        size: tile size in network voxels, (z, y, x), with its halo; None for the largest that fits into memory.
        halo: voxels around what a tile owns, (z, y, x); None for the effective receptive field of the network.
        batch: tiles that are predicted together; None for as many as fit on a GPU, and one on a CPU.
        precision: number type of the convolutions; None for what suits device and network.

    Raises:
        ValueError: the batch is smaller than 1, sizes are not three numbers of voxels, or the precision is unknown.
    """

    size: Triple | None = None
    halo: Triple | None = None
    batch: int | None = None
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        for name, sizes, least in (("size", self.size, 1), ("halo", self.halo, 0)):
            if sizes is not None and (len(sizes) != 3 or min(sizes) < least):
                raise ValueError(f"{name} must be three integers (z, y, x) from {least} on, got {sizes}")
        if self.precision not in (None, *PRECISIONS):
            raise ValueError(
                f"precision must be one of {', '.join(map(str, PRECISIONS))}, got {self.precision}"
            )


@dataclass(frozen=True)
class Plan:
    """The tiles of a pass, all of one size.

    Attributes:
        tiles: the tiles, in the order in which they are predicted.
        batch: number of tiles that are predicted together.
    """

    tiles: list[Tile]
    batch: int

    @property
    def batches(self) -> list[tuple[Tile, ...]]:
        """The tiles in groups of ``batch``."""
        return [tuple(self.tiles[i : i + self.batch]) for i in range(0, len(self.tiles), self.batch)]

    @property
    def size(self) -> Triple:
        """Size of a tile, (z, y, x)."""
        first = self.tiles[0]
        z, y, x = (b - a for a, b in zip(first.start, first.stop, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Layout:
    """How a volume is cut into tiles, without the tiles themselves.

    Attributes:
        size: size of a tile with its halo, (z, y, x).
        halo: voxels around what a tile owns, (z, y, x).
        batch: number of tiles that are predicted together, at most.
    """

    size: Triple
    halo: Triple
    batch: int


@dataclass(frozen=True)
class MemoryState:
    """Memory in use and free.

    Attributes:
        resident: bytes that this process takes.
        available: bytes of the machine that can still be allocated.
        gpu: memory of the GPU; None for other devices.
    """

    resident: int
    available: int
    gpu: Memory | None = None

    @classmethod
    def now(cls, device: torch.device) -> "MemoryState":
        """The present state.

        Args:
            device: device of the network.
        """
        return cls(resident(), available_memory(), Memory.of(device) if device.type == "cuda" else None)

    def budget(
        self,
        device: torch.device,
        max_memory: float | int | None,
        source: Triple,
        kept: float | int = 0,
        reserve: float | int = RESERVE,
        whole: bool = True,
    ) -> float:
        """Bytes that tiles may take.

        Args:
            device: device of the network.
            max_memory: bytes that the whole process may take, or on a GPU that tensors may take. None for half of the
                free memory of the machine, or most of the free memory of a GPU. A limit above the free memory is
                lowered to it.
            source: shape of the input, (z, y, x), whose labels need memory at the end.
            kept: bytes of the host's memory that are needed during the pass.
            reserve: bytes for buffers of libraries.
            whole: whether the input is the whole volume, which is in memory; False for a part that is predicted on its
                own, block by block.

        Raises:
            ValueError: not even the labels fit.
        """
        if self.gpu is not None:
            return max(self.gpu.budget(max_memory) - reserve, 0.0)
        if max_memory is None:
            return 0.5 * self.available - (kept if device.type == "cpu" else 0)
        if device.type != "cpu":
            return float(min(max_memory, self.available))
        max_memory = min(max_memory, self.resident + self.available)
        left = max_memory - self.resident - reserve
        results = _LABELS * math.prod(source) + kept
        if results > left:
            taking = "program and volume take" if whole else "the program takes"
            other = (
                ", crop the volume, or predict it block by block (labels in an .ome.zarr)" if whole else ""
            )
            raise ValueError(
                f"{taking} {self.resident / 1e9:.2f} GB, labels and buffers need "
                f"{(results + reserve) / 1e9:.2f} GB more, and {max_memory / 1e9:.2f} GB may be used; "
                f"raise max_memory{other}"
            )
        return left


def voxels_that_fit(tile_network: TileNetwork, budget: float | int) -> float:
    """Voxels that the network can process at once.

    Args:
        tile_network: the network.
        budget: bytes that tiles may take.
    """
    return min((1 - _CANDIDATES) * budget / tile_network.bytes_per_voxel, float(tile_network.max_voxels))


def plan_tiles(
    shape: Triple, tile_network: TileNetwork, max_voxels: float | int, options: TileOptions
) -> Plan:
    """The tiles of a volume.

    Args:
        shape: shape of the resampled volume, (z, y, x).
        tile_network: the network.
        max_voxels: voxels that it can process at once.
        options: how tiles are chosen.

    Raises:
        ValueError: not even the smallest tile fits, or the given tile size is smaller than the halo.
    """
    layout = plan_layout(shape, tile_network, max_voxels, options)
    tiles = cut_volume(shape, tile_network.network.divisor, layout.size, layout.halo)
    return Plan(tiles, min(layout.batch, len(tiles)))


def plan_layout(
    shape: Triple, tile_network: TileNetwork, max_voxels: float | int, options: TileOptions
) -> Layout:
    """How :func:`plan_tiles` cuts a volume. Arguments and errors are the same."""
    divisor = tile_network.network.divisor
    whole = padded(shape, divisor)
    margin = tile_network.margin(whole)
    if any(margin):
        computed = math.prod(n + 2 * m for n, m in zip(whole, margin, strict=True))
        max_voxels = max_voxels * math.prod(whole) / computed
    if options.size is None and math.prod(whole) <= max_voxels:
        return Layout(whole, (0, 0, 0), 1)
    halo = tile_network.halo if options.halo is None else options.halo
    size, batch = options.size, options.batch
    if size is None:
        try:
            size = best_tile_size(
                shape,
                divisor,
                halo,
                max_voxels / (batch or 1),
                tile_network.share_of_halo,
                tile_network.smallest_tile,
            )
        except ValueError as error:
            raise ValueError(
                f"{error} into memory; raise max_memory, free memory, or use a smaller network"
            ) from error
    if batch is None:
        on_cpu = tile_network.device.type == "cpu"
        batch = 1 if on_cpu else min(max(int(max_voxels / math.prod(size)), 1), _MAX_BATCH)
    return Layout(size, halo, batch)


def smaller_plan(plan: Plan, tile_network: TileNetwork, halo: Sequence[int] | None = None) -> Plan:
    """A plan for the same voxels that takes half the memory: fewer tiles in a batch, or smaller tiles.

    Args:
        plan: the plan that did not fit.
        tile_network: the network.
        halo: voxels around what a tile owns; None for the effective receptive field of the network.

    Raises:
        ValueError: not even the smallest tile would fit.
    """
    if plan.batch > 1:
        return Plan(plan.tiles, plan.batch // 2)
    divisor = tile_network.network.divisor
    halo = tile_network.halo if halo is None else halo
    try:
        size = best_tile_size(
            plan.size, divisor, halo, math.prod(plan.size) / 2, smallest=tile_network.smallest_tile
        )
    except ValueError as error:
        raise ValueError(
            f"the device's memory is full with a tile of {plan.size} voxels, and {error}; free memory, or use "
            "another device or a smaller network"
        ) from error
    return Plan([piece for tile in plan.tiles for piece in cut_tile(tile, divisor, size, halo)], 1)


def check_suppression_memory(
    candidates: int, source: Triple, max_memory: float | int, used: float | int
) -> None:
    """Refuse a suppression that would take more memory than may be used.

    Args:
        candidates: their number.
        source: shape of the input, (z, y, x), whose labels need memory.
        max_memory: bytes that the process may take in all.
        used: bytes that the process takes now.

    Raises:
        ValueError: there are too many candidates.
    """
    rendered = min(_RENDERED * candidates, _MAX_RENDERED)
    need = used + _CANDIDATE * candidates + rendered + _LABELS * math.prod(source)
    if need > max_memory:
        raise ValueError(
            f"the suppression of {candidates} candidates needs {need / 1e9:.1f} GB in all, and "
            f"{max_memory / 1e9:.1f} GB may be used; raise prob_thresh or max_memory"
        )
