"""Checks of the settings of all stages, before anything is measured or trained."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from lightning.pytorch.plugins import MixedPrecision
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from anystar_torch.configuration.compose import one_line
from anystar_torch.generator.parameters import check_whole
from anystar_torch.training.module import Training
from anystar_torch.training.resuming import differences, first_phrases, flat
from anystar_torch.training.stages import Stage

REFUSED = (HydraException, OmegaConfBaseException, ValueError, ImportError, OSError)
"""Errors of settings that are not valid; :class:`OSError` of files and folders that cannot be used."""

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Values of ``trainer.precision`` in which weights, their average, samples and losses are float32."""


def check_settings(stages: Sequence[Stage]) -> None:
    """Build the objects of all stages but their loggers, so that wrong settings are found before the first step.

    Of a run with one stage and without a budget nothing is built here: its own objects are built before its first step.

    Args:
        stages: those that will train.

    Raises:
        ValueError: a setting is not valid, or a stage has another network than the first one.
    """
    if len(stages) == 1 and stages[0].placed.get("minutes") is None:
        return
    first: dict[str, Any] | None = None
    for stage in stages:
        with _named(stage):
            training = _built(stage.placed, with_data=len(stages) > 1)
            here = flat(training.network.architecture)
            first = here if first is None else first
            if different := differences(first, here):
                raise ValueError(f"its network is not that of stage 1: {first_phrases(different)}")


def check_trainer(trainer: L.Trainer, training: Training) -> None:
    """Refuse settings of the trainer that would fail at the first step, or repeat samples.

    Args:
        trainer: of the run.
        training: the network with its optimiser.

    Raises:
        ValueError: the precision is not one of :data:`PRECISIONS`. A number of steps is not valid, samples would be
            repeated, or gradients are accumulated. A job of a sweep would start processes. Or gradients of a fused
            optimiser are clipped in mixed precision.
    """
    refuse_processes_in_sweep(trainer)
    if trainer.precision not in PRECISIONS:
        raise ValueError(
            f"trainer.precision must be one of {', '.join(PRECISIONS)}, got {trainer.precision}: weights, samples and "
            "losses are float32"
        )
    _check_steps(trainer)
    batches = trainer.accumulate_grad_batches
    if batches != 1:
        raise ValueError(
            f"trainer.accumulate_grad_batches must be 1, got {batches}; set batch_size to {batches} times its value"
        )
    fused = getattr(training.optimizer, "keywords", {}).get("fused")
    if fused and trainer.gradient_clip_val and isinstance(trainer.precision_plugin, MixedPrecision):
        raise ValueError(
            "trainer.gradient_clip_val cannot be used with a fused optimiser in mixed precision; set "
            "training.optimizer.fused=null"
        )


def _check_steps(trainer: L.Trainer) -> None:
    """Refuse numbers of steps that are not valid, and epochs, each of which would repeat the first samples."""
    if not isinstance(trainer.max_steps, int):
        raise ValueError(f"trainer.max_steps must be a whole number, got {trainer.max_steps}")
    interval = getattr(trainer, "val_check_interval", None)  # Lightning stores a time elsewhere
    if interval is None:
        raise ValueError("trainer.val_check_interval must be a number of steps; a time is not possible")
    if isinstance(interval, int) and interval < 1:
        raise ValueError(f"trainer.val_check_interval must be at least 1, got {interval}")
    limit = trainer.limit_train_batches  # also that of overfit_batches; 1 is one batch, 1.0 are all
    single = getattr(trainer, "fast_dev_run", False)  # as many steps as batches
    if not single and not (isinstance(limit, float) and limit == 1.0):
        raise ValueError(
            "trainer.limit_train_batches and trainer.overfit_batches would repeat the same samples and are not "
            f"possible, got {limit}; for a short run set trainer.max_steps"
        )


def check_seed(seed: Any) -> None:
    """Refuse a seed that is no whole number, or too large for NumPy.

    Args:
        seed: of the run.

    Raises:
        ValueError: it is not valid.
    """
    check_whole("seed", seed, 0, 2**32 - 1)


def refuse_processes_in_sweep(trainer: L.Trainer) -> None:
    """Refuse jobs of a sweep that would start further processes: Lightning repeats the command of the whole sweep.

    Args:
        trainer: of one job.

    Raises:
        ValueError: the job would start processes.
    """
    cluster = getattr(trainer.strategy, "cluster_environment", None)
    if in_sweep() and trainer.world_size > 1 and not (cluster and cluster.creates_processes_externally):
        raise ValueError(
            f"a job of a sweep cannot start {trainer.world_size} processes; set trainer.devices=1, or run the jobs "
            "one by one"
        )


def in_sweep() -> bool:
    """Whether this run is one job of a sweep (``-m``)."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def _named(stage: Stage) -> Iterator[None]:
    """Name the stage in the message of an error, if there are several."""
    try:
        yield
    except REFUSED as error:
        if stage.total == 1:
            raise
        raise ValueError(f"{stage.title}: {one_line(error)}") from error


def _built(config: DictConfig, with_data: bool) -> Training:
    """The network of a stage with its optimiser. What else it needs is built too, and thrown away."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    check_seed(config.seed)
    instantiate(config.report)
    instantiate(config.callbacks)
    training: Training = instantiate(config.training)
    training.configure_optimizers()
    check_trainer(instantiate(config.trainer, callbacks=[], **quiet), training)
    if with_data:  # those of one stage are built for the measurement
        instantiate(config.data).check_network(training.network)
    return training
