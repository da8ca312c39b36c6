"""What a task needs to know: the volume, the settings, the network, and what earlier stages found."""

import math
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped

from anystar_torch.arrays import LazyVoxels, Spacing, Triple
from anystar_torch.distributed.blocks import BLOCK, Blocks
from anystar_torch.distributed.mask import VolumeMask
from anystar_torch.distributed.networks import model_of, network_of
from anystar_torch.distributed.work_folder import WorkFolder
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.coarse_pass import COARSE_FACTOR
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.plan import Layout, TileOptions
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.stages import Settings
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.memory import Memory, available_memory, resident

SHARD = 256
"""Input voxels along each axis of the labels that one task writes."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Settings that decide the result. A run that continues another has the same ones.

    Attributes:
        spacing: voxel size (z, y, x), of which only the ratios matter.
        diameter: object size in voxels of the finest axis; None to estimate it.
        intensity_range: grey values that are mapped to 0 and 1; None to measure them.
        prob_thresh: candidates have a higher score.
        nms_thresh: overlap above which the worse of two candidates is removed.
        tta: whether predictions are means over mirrored inputs.
        coarse_pass: whether scores are combined with those of a coarse pass.
        shape_averaging: whether an object's shape is the mean over its candidates.
        tiles: how tiles are chosen and computed.
        block: network voxels along each axis that a block owns, about.
        shard: input voxels (z, y, x) of the labels that one task writes.
    """

    spacing: Spacing
    diameter: float | None
    intensity_range: tuple[float, float] | None
    prob_thresh: float
    nms_thresh: float
    tta: bool
    coarse_pass: bool
    shape_averaging: bool
    tiles: TileOptions = field(default_factory=TileOptions)
    block: int = BLOCK
    shard: Triple = (SHARD, SHARD, SHARD)

    def facts(self) -> dict[str, Any]:
        """The options as JSON values."""
        facts = asdict(self)
        facts["tiles"]["precision"] = str(self.tiles.precision)
        return facts


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Where tasks run. It changes the time that they take, and not their results.

    Attributes:
        device: a name that torch knows, or "auto".
        max_memory: bytes that a process may take, or on a GPU that tensors may take; None for half of the free memory.
        threads: threads of a process; None for as many as torch uses.
    """

    device: str = "auto"
    max_memory: float | None = None
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the stages before the network found.

    Attributes:
        low: grey value that is mapped to 0.
        high: grey value that is mapped to 1.
        clip: whether values outside of the range are set to 0 and 1.
        diameter: object size, in voxels of the finest axis.
        fine: how the volume is cut in the fine pass.
        coarse: how it is cut in the coarse pass; None where there is none.
    """

    low: float
    high: float
    clip: bool
    diameter: float
    fine: Layout
    coarse: Layout | None

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Prepared":
        """What ``asdict`` gave, after a way through JSON.

        Args:
            facts: the fields.
        """
        layouts = {
            name: None if (one := facts[name]) is None else _layout(one) for name in ("fine", "coarse")
        }
        return cls(**{**facts, **layouts})


@dataclass(frozen=True, kw_only=True)
class Job:
    """The prediction of one volume.

    Attributes:
        work: where results of tasks are stored.
        source: the volume; it can be sent to another process.
        mask: where objects may be; None for everywhere.
        options: settings that decide the result.
        machine: where tasks run.
        model: folder of the network.
        identity: of its weights and configuration; two networks that differ have different ones.
        normalisation: a name of :data:`~anystar_torch.network.normalisation.NORMALISATIONS`.
        prepared: what the stages before the network found; None before that.
    """

    work: WorkFolder
    source: LazyVoxels | Shaped[np.ndarray, "d h w"]
    mask: VolumeMask | None
    options: Options
    machine: Machine
    model: Path
    identity: str
    normalisation: str
    prepared: Prepared | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # without what is cached

    @property
    def shape(self) -> Triple:
        """Number of voxels of the volume, (z, y, x)."""
        z, y, x = self.source.shape
        return z, y, x

    @property
    def found(self) -> Prepared:
        """What the stages before the network found."""
        assert self.prepared is not None
        return self.prepared

    @cached_property
    def volume(self) -> InputVolume:
        """The volume as the stages of a prediction take it."""
        found = self.found
        return InputVolume(
            self.source, self.options.spacing, IntensityRange(found.low, found.high, found.clip)
        )

    @property
    def network(self) -> TileNetwork:
        """The network, on the device of this process."""
        return network_of(self)

    @property
    def config(self) -> ModelConfig:
        """Configuration of the network."""
        return model_of(self)[1]

    @cached_property
    def rays(self) -> Rays:
        """Rays of the network, on the CPU."""
        return model_of(self)[0].rays.to("cpu")

    @cached_property
    def settings(self) -> Settings:
        """The settings of the stages of a prediction."""
        return Settings(
            self.network,
            self.config,
            self.options.coarse_pass,
            self.options.tiles,
            self.machine.max_memory,
        )

    def scaling(self, factor: float = 1.0) -> Scaling:
        """Grids of the input and of a pass.

        Args:
            factor: size of the objects that the network was trained on, over their size in this pass.
        """
        target = self.config.diameter_band[1] / factor
        return Scaling.of(self.shape, self.options.spacing, self.found.diameter, target, self.rays)

    @cached_property
    def blocks(self) -> Blocks:
        """The blocks of the fine pass."""
        return self._blocks(self.scaling(), self.found.fine)

    @cached_property
    def coarse_blocks(self) -> Blocks:
        """The blocks of the coarse pass."""
        assert self.found.coarse is not None
        return self._blocks(self.scaling(COARSE_FACTOR), self.found.coarse)

    def _blocks(self, scaling: Scaling, layout: Layout) -> Blocks:
        return Blocks.of(scaling.shape, model_of(self)[0].divisor, layout, self.options.block)


def memory_of_worker(workers: int, device: torch.device) -> float | None:
    """Bytes that each of several processes of this machine may take, by default; None for no limit.

    On a CPU it is half of the free memory, divided by the processes. Processes that share a GPU divide its free memory.

    Args:
        workers: number of processes.
        device: on which they compute.
    """
    if device.type == "cpu":
        return resident() + 0.5 * available_memory() / workers
    if device.type != "cuda":
        return None
    sharing = math.ceil(workers / torch.cuda.device_count())
    return None if sharing == 1 else Memory.of(device).budget(None) / sharing


def _layout(facts: dict[str, Any]) -> Layout:
    return Layout(tuple(facts["size"]), tuple(facts["halo"]), facts["batch"])
