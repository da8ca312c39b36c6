"""The data module: the data set is a list of integer ids, and samples are made from ids on the training device.

Samples and targets of the next step are made while the network trains on those of this step
(:mod:`anystar_torch.training.prefetch`). A thread makes them on a CPU, and a side stream on CUDA. On other devices, and
for validation on a CPU, :meth:`SynthesisData.on_after_batch_transfer` makes them after Lightning has moved the ids.

The batch of step s depends only on the seed, s, the batch size and the number of ranks. Resumed and distributed runs
therefore need no further state.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import lightning as L
import torch
from jaxtyping import Int64
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from anystar_torch.arrays import Labels, Volume
from anystar_torch.generator.parameters import check_whole
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from anystar_torch.network.normalisation import NORMALISATIONS
from anystar_torch.network.stardist import Distances, Probability, StarDist
from anystar_torch.training.prefetch import Repeated, StreamPrefetch, ThreadPrefetch
from anystar_torch.training.streams import Streams, streams_of


class Batch(NamedTuple):
    """Samples and targets of a training or validation step, on its device.

    On CUDA the tensors are overwritten soon after the step. Copy what is needed longer.

    Attributes:
        ids: ``[B]``, the ids of the samples.
        image: ``[B, 1, D, H, W]`` in [0, 1].
        labels: ``[B, 1, D, H, W]``, 0 = background.
        probability: ``[B, 1, d, h, w]`` target on the grid.
        distances: ``[B, R, d, h, w]`` target on the grid, in voxels.
    """

    ids: Int64[Tensor, " b"]
    image: Volume
    labels: Labels
    probability: Probability
    distances: Distances


class Ids(Dataset[int]):
    """Data set whose item i is the integer i."""

    def __getitem__(self, index: int) -> int:
        return index


class StepBatches(Sampler[list[int]]):
    """Batches of one global sequence of ids.

    Step s of n ranks with batches of b samples has the ids s*b*n to (s+1)*b*n - 1. Therefore 1 rank with batches of 8
    and 8 ranks with batches of 1 train on the same samples.

    Args:
        batch_size: samples per step and rank.
        start: first step.
        stop: number of steps of the run.
        rank: rank of this process.
        ranks: number of ranks.
    """

    def __init__(self, batch_size: int, *, start: int, stop: int, rank: int = 0, ranks: int = 1) -> None:
        self.batch_size, self.start, self.stop, self.rank, self.ranks = batch_size, start, stop, rank, ranks

    def __len__(self) -> int:
        """Number of steps of the run, with those before ``start``: progress counts from the beginning of the run."""
        return self.stop

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = (step * self.ranks + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))


class SynthesisData(L.LightningDataModule):
    """Lightning data module that makes samples and targets from ids.

    Args:
        synthesizer: makes samples from ids. Validation uses its split "validation".
        rays: number of rays of the targets.
        anisotropy: relative voxel shape for rays and probability, (z, y, x).
        grid: subsampling of the targets, (z, y, x).
        batch_size: samples per step and rank.
        validation_samples: number of validation ids, from 0. Each rank uses at least one.
        normalisation: name of the normalisation that maps real volumes to the range of the samples.
        samples_per_call: number of samples that a prefetch makes in one call, a multiple of ``batch_size``; None for
            ``batch_size``.

    Raises:
        ValueError: a number of samples is not valid, ``samples_per_call`` is not a multiple of ``batch_size``, or the
            normalisation is unknown.
    """

    def __init__(
        self,
        *,
        synthesizer: Synthesizer,
        rays: int,
        anisotropy: Sequence[float | int],
        grid: Sequence[int],
        batch_size: int,
        validation_samples: int,
        normalisation: str,
        samples_per_call: int | None = None,
    ) -> None:
        super().__init__()
        check_whole("batch_size", batch_size, 1)
        check_whole("data.validation_samples", validation_samples, 1)
        if normalisation not in NORMALISATIONS:
            raise ValueError(
                f"data.normalisation must be one of {', '.join(NORMALISATIONS)}, got {normalisation!r}"
            )
        per_call = batch_size if samples_per_call is None else samples_per_call
        if not isinstance(per_call, int) or per_call < 1 or per_call % batch_size:
            raise ValueError(
                f"samples_per_call must be a multiple of batch_size, {batch_size}, got {samples_per_call}"
            )
        self.synthesizer, self.validation = synthesizer.on("train"), synthesizer.on("validation")
        self.anisotropy = (float(anisotropy[0]), float(anisotropy[1]), float(anisotropy[2]))
        self.grid = (int(grid[0]), int(grid[1]), int(grid[2]))
        self.rays = Rays.golden_spiral(rays, self.anisotropy)
        self.batch_size, self.validation_samples = batch_size, validation_samples
        self.normalisation = normalisation
        self.steps_per_call = per_call // batch_size
        self.waited_seconds = 0.0
        """Seconds for which training has waited for samples. A GPU reports them some steps later."""
        self._rays_on: dict[torch.device, Rays] = {}
        self._streams: Streams | None = None
        self._repeated: dict[str, Repeated[Batch]] = {}

    def check_network(self, network: StarDist) -> None:
        """Refuse a network that cannot be trained on these samples and targets.

        Args:
            network: the network.

        Raises:
            ValueError: its rays, anisotropy or grid are not those of the targets, or it cannot process the shape.
        """
        targets = (len(self.rays.vertices), self.anisotropy, self.grid)
        its = (len(network.rays.vertices), network.rays.anisotropy, network.grid)
        for name, here, there in zip(("rays", "anisotropy", "grid"), targets, its, strict=True):
            if here != there:
                raise ValueError(
                    f"data.{name} is {here}, but that of the network is {there}; leave out data.{name}, and set "
                    f"model.{name}"
                )
        shape = tuple(self.synthesizer.shape)
        if any(size % step for size, step in zip(shape, network.divisor, strict=True)):
            raise ValueError(
                f"shape must be multiples of {network.divisor} (z, y, x) for this network, got {shape}"
            )

    def setup(self, stage: str) -> None:
        """Copy the rays to the training device."""
        assert self.trainer is not None
        self._rays(self.trainer.strategy.root_device)

    def teardown(self, stage: str) -> None:
        """Free the memory of the CUDA graphs. Lightning's loaders still refer to them."""
        for repeated in self._repeated.values():
            repeated.release()
        self._streams, self._repeated = None, {}

    def train_dataloader(self) -> DataLoader[int] | ThreadPrefetch[Batch] | StreamPrefetch[Batch]:
        """Batches from the trainer's step on, so a resumed run has the samples of an uninterrupted one."""
        trainer = self.trainer
        assert trainer is not None
        batches = StepBatches(
            self.batch_size,
            start=trainer.global_step,
            stop=trainer.max_steps,
            rank=trainer.global_rank,
            ranks=trainer.world_size,
        )
        device = trainer.strategy.root_device
        if device.type == "cpu":
            make = partial(self.make, synthesizer=self.synthesizer)
            return ThreadPrefetch(batches, make, self._waited, self.steps_per_call)
        return self._on_stream(batches, device, self.synthesizer) or DataLoader(Ids(), batch_sampler=batches)

    def val_dataloader(self) -> DataLoader[int] | StreamPrefetch[Batch]:
        """The validation ids, divided among the ranks.

        Each rank gets at least one id. A rank without a batch would make the others wait for ever.
        """
        trainer = self.trainer
        assert trainer is not None
        ranks = trainer.world_size
        ids = range(trainer.global_rank, max(self.validation_samples, ranks), ranks)
        batches = [
            list(ids[first : first + self.batch_size]) for first in range(0, len(ids), self.batch_size)
        ]
        return self._on_stream(batches, trainer.strategy.root_device, self.validation) or DataLoader(
            Ids(), batch_sampler=batches
        )

    def on_after_batch_transfer(self, batch: Int64[Tensor, " b"] | Batch, dataloader_idx: int) -> Batch:
        """The batch of ids ``[B]`` on the training device. A batch that was prefetched is returned as it is.

        Args:
            batch: ids, or a prefetched batch.
            dataloader_idx: not used.
        """
        if isinstance(batch, Batch):
            return batch
        trainer: Any = self.trainer
        began = time.perf_counter()
        made = self.make(batch, self.synthesizer if trainer.training else self.validation)
        if trainer.training:
            self._waited(time.perf_counter() - began)
        return made

    @torch.no_grad()
    def make(self, ids: Int64[Tensor, " b"], synthesizer: Synthesizer) -> Batch:
        """Image, labels and targets of the samples ``ids``, on their device.

        Args:
            ids: ``[B]``.
            synthesizer: of the split.
        """
        sample = synthesizer(ids)
        probability = object_probability(sample.labels, self.grid, self.anisotropy)
        distances = star_distances(sample.labels, self._rays(ids.device), self.grid)
        return Batch(ids, sample.image, sample.labels, probability, distances)

    def _on_stream(
        self, batches: StepBatches | list[list[int]], device: torch.device, synthesizer: Synthesizer
    ) -> StreamPrefetch[Batch] | None:
        """A loader that makes batches on the side stream of ``device``; None for devices without one."""
        if self._streams is None:
            self._streams = streams_of(device)
        if self._streams is None:
            return None
        split = synthesizer.split
        if split not in self._repeated:
            self._repeated[split] = Repeated(
                partial(self.make, synthesizer=synthesizer),
                self.steps_per_call * self.batch_size,
                self._streams,
                rank_zero_warn,
            )
        waited = self._waited if split == self.synthesizer.split else _ignore
        return StreamPrefetch(batches, self._repeated[split], self._streams, waited, self.steps_per_call)

    def _rays(self, device: torch.device) -> Rays:
        """The rays on ``device``. They are copied once, because a copy in every batch would stall the device."""
        if device not in self._rays_on:
            if device.type == "meta":  # the tests on meta tensors refuse copies between devices
                vertices, faces = (
                    torch.empty(rays.shape, dtype=rays.dtype, device=device)
                    for rays in (self.rays.vertices, self.rays.faces)
                )
                self._rays_on[device] = replace(self.rays, vertices=vertices, faces=faces)
            else:
                self._rays_on[device] = self.rays.to(device)
        return self._rays_on[device]

    def _waited(self, seconds: float) -> None:
        self.waited_seconds += seconds


def _ignore(seconds: float) -> None:
    """Waits of the validation are not counted."""
