"""The data set is a list of integers; volumes and targets are made on the device where they are needed.

The loader ships ids. :meth:`SynthesisData.on_after_batch_transfer` turns them into images and targets after Lightning
has moved them to the training device; on a CPU a thread has done so while the step before was running. What step s of
any run sees is a function of (seed, s, batch size, number of ranks) alone, so resuming and sharding need nothing else.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from anystar_torch.ahead import Ahead
from anystar_torch.arrays import Labels, Volume
from anystar_torch.rays import Rays
from anystar_torch.stardist import Distances, Probability
from anystar_torch.synthesizer import Synthesizer
from anystar_torch.targets import object_probability, star_distances


class Batch(NamedTuple):
    """What a training or validation step gets: all on its device."""

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
        validation_samples: how many ids, from 0, the validation set has.
        normalisation: what brings a real volume to the range of the samples, by its name in
            :mod:`anystar_torch.inference.normalise`.
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
    ) -> None:
        super().__init__()
        if batch_size < 1 or validation_samples < 1:
            raise ValueError(
                f"batch_size and validation_samples must be at least 1, got {batch_size}, {validation_samples}"
            )
        self.synthesizer, self.validation = synthesizer.on("train"), synthesizer.on("validation")
        self.anisotropy = (float(anisotropy[0]), float(anisotropy[1]), float(anisotropy[2]))
        self.grid = (int(grid[0]), int(grid[1]), int(grid[2]))
        self.rays = Rays.golden_spiral(rays, self.anisotropy)
        self.batch_size, self.validation_samples = batch_size, validation_samples
        self.normalisation = normalisation
        self.synthesis_seconds = 0.0
        """Wall time that the last step waited for its batch to be made; on a GPU that of launching it."""

    def train_dataloader(self) -> DataLoader[int] | Ahead[Batch]:
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
        loader = DataLoader(Ids(), batch_sampler=batches)
        if trainer.strategy.root_device.type != "cpu":
            return loader
        return Ahead(loader, lambda ids: self.make(ids, self.synthesizer), self._waited)

    def val_dataloader(self) -> DataLoader[int]:
        """The fixed validation ids, shared out over the ranks."""
        trainer = self.trainer
        assert trainer is not None
        ids = range(trainer.global_rank, self.validation_samples, trainer.world_size)
        return DataLoader(ids, batch_size=self.batch_size)  # type: ignore[arg-type]

    def on_after_batch_transfer(self, batch: Tensor | Batch, dataloader_idx: int) -> Batch:
        """Ids ``[B]`` on the training device to a :class:`Batch` there, if that was not done ahead."""
        if isinstance(batch, Batch):
            return batch
        trainer: Any = self.trainer
        began = time.perf_counter()
        made = self.make(batch, self.synthesizer if trainer.training else self.validation)
        self._waited(time.perf_counter() - began)
        return made

    @torch.no_grad()
    def make(self, ids: Tensor, synthesizer: Synthesizer) -> Batch:
        """The batch of these ids: image, labels and targets, on the ids' device."""
        sample = synthesizer(ids)
        probability = object_probability(sample.labels, self.grid, self.anisotropy)
        distances = star_distances(sample.labels, self.rays, self.grid)
        return Batch(ids, sample.image, sample.labels, probability, distances)

    def _waited(self, seconds: float) -> None:
        self.synthesis_seconds = seconds
