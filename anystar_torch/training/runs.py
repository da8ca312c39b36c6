"""A training run: its objects, built from a configuration, and its folder."""

from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, flag_override

from anystar_torch.io.atomic import atomic_write
from anystar_torch.training.checkpoints import LAST, best_score, last_checkpoint
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training, warm_start
from anystar_torch.training.overrides import sets
from anystar_torch.training.report import Report
from anystar_torch.training.resuming import check_same_network
from anystar_torch.training.run_folder import claimed, named_by_time, started_from
from anystar_torch.training.settings import check_seed, check_trainer, in_sweep


class Run(NamedTuple):
    """The objects of a training run.

    Attributes:
        trainer: Lightning's trainer.
        training: the network with its loss and its optimiser.
        data: the data module.
        checkpoint: path of the checkpoint to resume from; None for a new run.
        report: scores the network at the end.
    """

    trainer: L.Trainer
    training: Training
    data: SynthesisData
    checkpoint: Path | None
    report: Report


def build(config: DictConfig) -> Run:
    """Build every object that ``config`` names.

    Args:
        config: the composed ``configs/train.yaml``.

    Raises:
        HydraException: an object cannot be built.
        ValueError: a setting is not valid.
        ImportError: a package that a setting needs is missing.
    """
    check_seed(config.seed)
    L.seed_everything(config.seed, verbose=False)
    checkpoint = last_checkpoint(config.resume)
    report = instantiate(config.report)
    training = instantiate(config.training)
    if checkpoint is not None:
        check_same_network(checkpoint, training.network)
        best_score(checkpoint.parent)  # read again when training starts; refused here if it is not safe
    if config.warm_start is not None and checkpoint is None:  # a resumed run has its checkpoint's weights
        warm_start(training.network, config.warm_start)
    trainer = instantiate(
        config.trainer,
        callbacks=list(instantiate(config.callbacks).values()),
        logger=list(instantiate(config.logger).values()),
    )
    check_trainer(trainer, training)
    data = instantiate(config.data)
    data.check_network(training.network)
    return Run(trainer, training, data, checkpoint, report)


def in_its_folder(config: DictConfig) -> DictConfig:
    """A copy of ``config`` whose ``run_folder`` is the one that the user or a sweep gave to Hydra, if one did.

    That is ``hydra.run.dir`` from the command line, or ``hydra.sweep.dir`` and ``hydra.sweep.subdir`` for a job of a
    sweep. A new run whose folder is named by the time gets one that no other run has begun in. A job of a sweep that is
    resumed goes on from its own checkpoint; a job without one starts. A resumed run keeps its ``warm_start``, which a
    fine-tuning reads again.

    Args:
        config: the composed configuration.
    """
    hydra, placed = HydraConfig.get(), deepcopy(config)
    sweep = in_sweep()
    given = sweep or sets(hydra.overrides.hydra, "hydra.run.dir")
    placed.run_folder = hydra.runtime.output_dir if given else str(config.run_folder)
    first = getattr(rank_zero_only, "rank", 0) == 0
    if first and not given and config.resume is None and named_by_time(config):
        placed.run_folder = claimed(placed.run_folder)
        _pass_on(placed.run_folder)
    if sweep and placed.resume is not None:
        begun = any(Path(placed.run_folder).rglob(LAST))  # also that of a stage
        placed.resume = placed.run_folder if begun else None
    if placed.resume is not None:
        placed.warm_start = started_from(placed.resume, config)
    return placed


def _pass_on(folder: str) -> None:
    """Set ``hydra.run.dir``, which Lightning passes on to the processes that it starts."""
    hydra: Any = HydraConfig.instance().cfg
    with flag_override(hydra, ["readonly", "struct"], False), flag_override(hydra.hydra, "readonly", False):
        hydra.hydra.run.dir = folder


def store_settings(config: DictConfig, folder: str) -> None:
    """Write the configuration of a run into its folder, as Hydra would have done before the run began.

    Hydra writes before a program can refuse its configuration, and would replace that of the run to be resumed.

    Args:
        config: the composed configuration.
        folder: the run folder.
    """
    hydra: Any = HydraConfig.instance().cfg
    settings = Path(folder, ".hydra")
    settings.mkdir(parents=True, exist_ok=True)
    contents = {
        "config": config,
        "hydra": OmegaConf.masked_copy(hydra, "hydra"),
        "overrides": hydra.hydra.overrides.task,
    }
    for name, content in contents.items():
        with atomic_write(settings / f"{name}.yaml") as temporary:
            OmegaConf.save(content, temporary)
