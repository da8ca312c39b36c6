"""The data set is a list of integers; volumes and targets are made on the device where they are needed.

The loader ships ids. While a step runs, the images and targets of the next are made: on a CPU by a thread, on CUDA on
a stream of its own and from a CUDA graph (:mod:`anystar_torch.training.prefetch`). On other devices, and for
the validation on
a CPU, :meth:`SynthesisData.on_after_batch_transfer` makes them after Lightning has moved the ids to the device. What
step s of any run sees is a function of (seed, s, batch size, number of ranks) alone, so resuming and sharding need
nothing else.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from anystar_torch.arrays import Labels, Volume
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.targets import object_probability, star_distances
from anystar_torch.network.stardist import Distances, Probability
from anystar_torch.training.prefetch import Repeated, StreamPrefetch, ThreadPrefetch
from anystar_torch.training.streams import Streams, streams_of


class Batch(NamedTuple):
    """What a training or validation step gets: all on its device.

    On CUDA the tensors are overwritten soon after the step: copy what is kept longer.
    """

    ids: Tensor
    image: Volume
    labels: Labels
    probability: Probability
    distances: Distances


class Ids(Dataset[int]):
    """Sample i is the integer i."""

    def __getitem__(self, index: int) -> int:
        return index


class StepBatches(Sampler[list[int]]):
    """Batches of one global sequence of ids, from step ``start`` to step ``stop``.

    Step s of ``world`` ranks with batches of b sees the ids s*b*world .. (s+1)*b*world - 1, so 1 rank x 8 and
    8 ranks x 1 train on the same samples.
    """

    def __init__(self, batch_size: int, *, start: int, stop: int, rank: int = 0, world: int = 1) -> None:
        self.batch_size, self.start, self.stop, self.rank, self.world = batch_size, start, stop, rank, world

    def __len__(self) -> int:
        """All steps of the run, those before ``start`` included: progress is counted from the run's beginning."""
        return self.stop

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            first = (step * self.world + self.rank) * self.batch_size
            yield list(range(first, first + self.batch_size))


class SynthesisData(L.LightningDataModule):
    """Makes batches from ids.

    Args:
        synthesizer: ids to samples; its seed is the run's. Validation uses its split "validation".
        rays: number of rays of the targets.
        anisotropy: relative voxel shape of the rays and the probability, (z, y, x).
        grid: subsampling of the targets, (z, y, x).
        batch_size: samples per step and rank.
        validation_samples: how many ids, from 0, the validation set has; at least one per rank is used.
        normalisation: what brings a real volume to the range of the samples, by its name in
            :mod:`anystar_torch.inference.normalise`.
        samples_per_call: samples made at once where they are made ahead of the step, a multiple of ``batch_size``, for
            the next steps; None for ``batch_size``.

    Raises:
        ValueError: no samples, or ``samples_per_call`` is not a multiple of ``batch_size``.
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
        if batch_size < 1 or validation_samples < 1:
            raise ValueError(
                f"batch_size and validation_samples must be at least 1, got {batch_size}, {validation_samples}"
            )
        per_call = batch_size if samples_per_call is None else samples_per_call
        if per_call < 1 or per_call % batch_size:
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
        """For how long training has waited for samples so far; on a GPU measured there, known some steps later."""
        self._rays_on: dict[torch.device, Rays] = {}
        self._streams: Streams | None = None
        self._repeated: dict[str, Repeated[Batch]] = {}

    def setup(self, stage: str) -> None:
        """Puts the rays on the training device, before the first step."""
        assert self.trainer is not None
        self._rays(self.trainer.strategy.root_device)

    def teardown(self, stage: str) -> None:
        """Frees the memory of the CUDA graphs, which Lightning's loaders still refer to."""
        for repeated in self._repeated.values():
            repeated.release()
        self._streams, self._repeated = None, {}

    def train_dataloader(self) -> DataLoader[int] | ThreadPrefetch[Batch] | StreamPrefetch[Batch]:
        """From the step the trainer is at, which is how a resumed run sees what it would have seen."""
        trainer = self.trainer
        assert trainer is not None
        batches = StepBatches(
            self.batch_size,
            start=trainer.global_step,
            stop=trainer.max_steps,
            rank=trainer.global_rank,
            world=trainer.world_size,
        )
        device = trainer.strategy.root_device
        if device.type == "cpu":
            make = partial(self.make, synthesizer=self.synthesizer)
            return ThreadPrefetch(batches, make, self._waited, self.steps_per_call)
        return self._on_stream(batches, device, self.synthesizer) or DataLoader(Ids(), batch_sampler=batches)

    def val_dataloader(self) -> DataLoader[int] | StreamPrefetch[Batch]:
        """The fixed validation ids, shared out over the ranks.

        Each rank gets at least one, or the others would wait for ever for the one without a batch.
        """
        trainer = self.trainer
        assert trainer is not None
        world = trainer.world_size
        ids = range(trainer.global_rank, max(self.validation_samples, world), world)
        batches = [
            list(ids[first : first + self.batch_size]) for first in range(0, len(ids), self.batch_size)
        ]
        return self._on_stream(batches, trainer.strategy.root_device, self.validation) or DataLoader(
            Ids(), batch_sampler=batches
        )

    def on_after_batch_transfer(self, batch: Tensor | Batch, dataloader_idx: int) -> Batch:
        """Ids ``[B]`` on the training device to a :class:`Batch` there, if that was not done ahead."""
        if isinstance(batch, Batch):
            return batch
        trainer: Any = self.trainer
        began = time.perf_counter()
        made = self.make(batch, self.synthesizer if trainer.training else self.validation)
        if trainer.training:
            self._waited(time.perf_counter() - began)
        return made

    @torch.no_grad()
    def make(self, ids: Tensor, synthesizer: Synthesizer) -> Batch:
        """The batch of these ids: image, labels and targets, on the ids' device."""
        sample = synthesizer(ids)
        probability = object_probability(sample.labels, self.grid, self.anisotropy)
        distances = star_distances(sample.labels, self._rays(ids.device), self.grid)
        return Batch(ids, sample.image, sample.labels, probability, distances)

    def _on_stream(
        self, batches: StepBatches | list[list[int]], device: torch.device, synthesizer: Synthesizer
    ) -> StreamPrefetch[Batch] | None:
        """A loader that makes batches on the side stream of ``device``; None if it has none."""
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
        """The rays on ``device``, copied there once: in every batch the copy would stall it."""
        if device not in self._rays_on:
            if (
                device.type == "meta"
            ):  # has no data to copy, and the checks on meta refuse copies between devices
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
    """Validation's waits are not training's."""
