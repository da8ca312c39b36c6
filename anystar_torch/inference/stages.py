"""Prediction as a list of stages, in the order in which a volume passes through them.

1. open: the volume and its spacing are checked.
2. intensity range: two grey values are mapped to 0 and 1.
3. size: the diameter of the objects is given or estimated.
4. resampled view: the volume at the scale at which objects have the size that the network was trained on.
5. tiles: the resampled volume is cut into tiles that fit into memory.
6. candidates: the network predicts every tile, and the grid points above the threshold are kept.
7. suppression: of candidates that overlap too much, the best one survives.
8. instances: the survivors are scaled to input voxels and rendered.
9. run record: results are stored with their settings (:class:`anystar_torch.io.RunRecord`).

:func:`find_candidates` runs the stages 3 to 6, :func:`find_instances` the stages 7 and 8.
:class:`anystar_torch.AnyStar` runs them all, for volumes in memory. Other programs call the same functions.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import Candidates, Survivors, checked_overlap, merge, suppress
from anystar_torch.inference.coarse_pass import COARSE_FACTOR, CoarsePass, grid_shape
from anystar_torch.inference.early_suppression import EarlySuppression
from anystar_torch.inference.input_volume import InputVolume, checked_array, validated_spacing
from anystar_torch.inference.instances import Instances, render_instances
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.object_size import ObjectSize, check_found_size, check_given_size
from anystar_torch.inference.pipeline import Events, Finish, Pipeline, Start, T
from anystar_torch.inference.plan import (
    MemoryState,
    Plan,
    TileOptions,
    plan_tiles,
    smaller_plan,
    voxels_that_fit,
)
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import TileCandidates
from anystar_torch.inference.size_estimator import SizeEstimator
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import Tile
from anystar_torch.inference.warnings import ConstantVolumeWarning, SizeWarning
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.progress import Tick, bar


@dataclass(frozen=True)
class Settings:
    """The network of a prediction and the options of the stages.

    Attributes:
        tile_network: the network, on its device.
        config: its configuration.
        coarse_pass: whether scores are combined with those of a coarse pass.
        options: how tiles are chosen and computed.
        max_memory: bytes that the whole process may take, or on a GPU that tensors may take. None for half of the free
            memory of the machine, or most of the free memory of a GPU.
        progress: whether progress bars are drawn.
        memory: memory in use and free; None to find out when it is needed.
        nms_thresh: overlap threshold of a suppression while tiles are predicted, on a GPU; None to suppress later.
    """

    tile_network: TileNetwork
    config: ModelConfig
    coarse_pass: bool = True
    options: TileOptions = field(default_factory=TileOptions)
    max_memory: float | int | None = None
    progress: bool = False
    memory: MemoryState | None = None
    nms_thresh: float | None = None

    def max_voxels(self, source: Triple, kept: float | int = 0) -> float:
        """Voxels that the network can process at once.

        Args:
            source: shape of the input, (z, y, x), whose labels need memory at the end.
            kept: bytes of the host's memory that are needed meanwhile.

        Raises:
            ValueError: not even the labels fit into ``max_memory``.
        """
        device = self.tile_network.device
        state = self.memory or MemoryState.now(device)
        return voxels_that_fit(self.tile_network, state.budget(device, self.max_memory, source, kept))


@dataclass(frozen=True)
class TileRun:
    """What the passes of one prediction share.

    Attributes:
        settings: the network and the options.
        max_voxels: voxels that the network can process at once.
        events: where deviations from the plan are counted.
    """

    settings: Settings
    max_voxels: float | int
    events: Events = field(default_factory=Events)

    def results(
        self, start: Start[T], volume: ResampledVolume, tick: Tick, plan: Plan | None = None
    ) -> Iterator[tuple[list[T], list[Tile]]]:
        """The results of the tiles of a volume, batch by batch, with the tiles that come later.

        Args:
            start: launches the work on a batch of tiles.
            volume: the volume at the scale of a pass.
            tick: receives the number of batches that are done, and that of all batches.
            plan: the tiles; None for those of the whole volume.
        """
        network, options = self.settings.tile_network, self.settings.options
        plan = plan or plan_tiles(volume.shape, network, self.max_voxels, options)
        smaller = partial(smaller_plan, tile_network=network, halo=options.halo)
        pipeline = Pipeline(start, smaller, network.device, network.transfer.overlapped, self.events)
        return pipeline.run(plan, network.precision, tick)


def open_volume(
    volume: NDArray[Any] | Tensor, spacing: Sequence[float | int] | None, normalisation: str, rays: Rays
) -> InputVolume:
    """Stages 1 and 2: check the volume and find its intensity range.

    Args:
        volume: real numbers, (z, y, x).
        spacing: voxel size (z, y, x); None for the voxel shape that the network was trained on.
        normalisation: a name of :data:`~anystar_torch.network.normalisation.NORMALISATIONS`.
        rays: rays of the network, whose anisotropy is that voxel shape.

    Raises:
        TypeError: the volume is no array of real numbers.
        ValueError: the volume is not three-dimensional, empty or without a finite value, or the spacing is invalid.
    """
    voxels = checked_array(volume)
    shape = rays.anisotropy if spacing is None else validated_spacing(spacing)
    return InputVolume(voxels, shape, intensity_range(voxels, normalisation))


def object_size(volume: InputVolume, diameter: float | None, settings: Settings) -> ObjectSize:
    """Stage 3: the object size, given or estimated.

    Args:
        volume: the volume.
        diameter: in voxels of the finest axis; None to estimate it.
        settings: the network and the options.

    Raises:
        ValueError: the diameter is below 1 voxel.
    """
    if diameter is not None:
        return check_given_size(diameter, volume)
    most, network = settings.max_voxels(volume.shape), settings.tile_network
    with bar("estimating the size of objects", settings.progress) as tick:
        return SizeEstimator(network, settings.config, most, settings.coarse_pass).estimate(volume, tick)


def resample(
    volume: InputVolume, diameter: float, settings: Settings, factor: float = 1.0
) -> ResampledVolume:
    """Stage 4: the volume at the scale of a pass. Nothing is computed yet.

    Args:
        volume: the volume.
        diameter: object size, in voxels of the finest axis.
        settings: the network and the options.
        factor: size of the objects that the network was trained on, over their size in this pass.
    """
    target = settings.config.diameter_band[1] / factor
    rays = settings.tile_network.network.rays
    scaling = Scaling.of(volume.shape, volume.spacing, diameter, target, rays)
    return ResampledVolume(volume.voxels, scaling, volume.intensity_range)


def coarse_pass(volume: ResampledVolume, fine: Scaling, run: TileRun) -> CoarsePass:
    """Stages 5 and 6 of the coarse pass: the probabilities of the whole volume.

    Args:
        volume: the volume at the scale of the coarse pass.
        fine: scaling of the fine pass.
        run: what the passes share.
    """
    tile_network = run.settings.tile_network
    grid = tile_network.network.grid
    whole = torch.zeros(grid_shape(volume.shape, grid), dtype=torch.float32)
    with bar("coarse pass", run.settings.progress) as tick:
        for parts, _ in run.results(partial(tile_network.start_probability, volume), volume, tick):
            for part in parts:
                whole[part.place] = torch.from_numpy(part.values)
    return CoarsePass(whole, volume.scaling, fine, grid)


def tile_candidates(
    volume: ResampledVolume,
    coarse: CoarsePass | None,
    prob_thresh: float,
    run: TileRun,
    plan: Plan | None = None,
) -> tuple[list[TileCandidates], Survivors | None]:
    """Stages 5 and 6: the candidates of the tiles, and which of them survive if that was asked for and is known.

    Args:
        volume: the volume at the scale of the fine pass.
        coarse: coarse pass, with which probabilities are combined; None for the fine pass only.
        prob_thresh: candidates have a higher score.
        run: what the passes share.
        plan: the tiles; None for those of the whole volume.
    """

    def start(tiles: tuple[Tile, ...], precision: torch.dtype) -> Finish[TileCandidates]:
        return run.settings.tile_network.start(volume, tiles, prob_thresh, precision, coarse=coarse)

    settings = run.settings
    found: list[TileCandidates] = []
    rays = settings.tile_network.network.rays.to("cpu")
    suppression = None
    with ExitStack() as stack:
        tick = stack.enter_context(bar("predicting", settings.progress))
        if settings.nms_thresh is not None and settings.tile_network.transfer.overlapped:
            suppression = stack.enter_context(EarlySuppression(rays, settings.nms_thresh))
        for parts, later in run.results(start, volume, tick, plan):
            found += parts
            if suppression is not None:
                suppression.receive(parts, later)
        return found, None if suppression is None else suppression.finish()


def find_candidates(
    volume: InputVolume, diameter: float | None, prob_thresh: float, settings: Settings
) -> Candidates:
    """Stages 3 to 6: the candidates of a volume, with the warnings of these stages.

    Args:
        volume: the volume.
        diameter: object size, in voxels of the finest axis; None to estimate it.
        prob_thresh: candidates have a higher score.
        settings: the network and the options.

    Raises:
        ValueError: the diameter is below 1 voxel, or the memory is too small.
    """
    size = object_size(volume, diameter, settings)
    fine = resample(volume, size.diameter, settings)
    rays = settings.tile_network.network.rays.to("cpu")
    if volume.intensity_range.constant:
        nothing = merge([], rays, fine.scaling, size.diameter, prob_thresh)
        return replace(nothing, warnings=(*size.warnings, ConstantVolumeWarning()))
    view, kept = None, 0
    if settings.coarse_pass:
        view = resample(volume, size.diameter, settings, COARSE_FACTOR)
        kept = CoarsePass.nbytes(view.shape, settings.tile_network.network.grid)
    run = TileRun(settings, settings.max_voxels(volume.shape, kept))
    coarse = None if view is None else coarse_pass(view, fine.scaling, run)
    parts, survivors = tile_candidates(fine, coarse, prob_thresh, run)
    warnings = (*size.warnings, *run.events.warnings(settings.tile_network.precision))
    found = merge(parts, rays, fine.scaling, size.diameter, prob_thresh, survivors)
    return replace(found, estimate=size.estimate, warnings=warnings)


def find_instances(
    candidates: Candidates,
    nms_thresh: float | int,
    *,
    shape_averaging: bool = True,
    config: ModelConfig | None = None,
    progress: bool = False,
) -> Instances:
    """Stages 7 and 8: suppress candidates and render the survivors.

    Args:
        candidates: all candidates of a volume; :meth:`Candidates.above` raises their threshold.
        nms_thresh: overlap (intersection over the smaller volume) above which the worse candidate is removed, 0 to 1.
        shape_averaging: whether an object's shape is the mean over the candidates around its centre.
        config: configuration of the network, to check the size of the objects; None to check nothing.
        progress: whether a progress bar is drawn.

    Returns:
        The objects in input voxels. A polyhedron without a voxel of its own is left out.

    Raises:
        ValueError: the overlap threshold is not in [0, 1].
    """
    nms_thresh = checked_overlap(nms_thresh)
    with bar("suppressing", progress) as tick:
        kept: Bool[np.ndarray, " n"] = suppress(candidates, nms_thresh, tick)
    found = render_instances(candidates, kept, nms_thresh, shape_averaging)
    if config is None or any(isinstance(warning, SizeWarning) for warning in found.warnings):
        return found
    doubt = check_found_size(found.distances, found.rays, candidates.scaling, found.diameter, config)
    return found if doubt is None else replace(found, warnings=(*found.warnings, doubt))
