"""The training entry: ``python train.py +experiment=mix [group=choice] [key=value]``.

Hydra composes ``configs/train.yaml``, every object that it names is built, and Lightning trains the network. A report
then scores the network on synthetic samples and on a real volume.
"""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import hydra
import lightning as L
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from anystar_torch.configuration.compose import config_folder, one_line
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.configuration.stored import current_config
from anystar_torch.system.allocator import keep_freed_memory
from anystar_torch.training.callbacks import NonFiniteLossError
from anystar_torch.training.checkpoints import best_score, last_checkpoint
from anystar_torch.training.data import SynthesisData
from anystar_torch.training.module import Training, warm_start
from anystar_torch.training.report import Report
from anystar_torch.training.resuming import check_same_network

SETTINGS_REFUSED = 2
"""Exit status of a run whose settings are not valid."""

NOT_FINITE = 1
"""Exit status of a run that stopped because its loss was not finite."""

register_resolvers()  # Hydra resolves parts of the configuration before it calls main


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


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="train")
def main(config: DictConfig) -> None:
    """Train the network that ``config`` describes, and exit.

    Exit status: 0 after a successful run; 1 if the network learned nothing or the loss was not finite; 2 if a setting
    is not valid; 130 if a signal stopped the run.

    Args:
        config: the composed ``configs/train.yaml``, or the stored configuration of an earlier run.
    """
    keep_freed_memory()
    silence_libraries()
    try:
        config = current_config(config)
        run = build(config)
    except (HydraException, ValueError, ImportError) as error:
        sys.exit(complain(error, SETTINGS_REFUSED))
    if run.trainer.is_global_zero:
        store_settings(config)
    try:
        run.trainer.fit(run.training, datamodule=run.data, ckpt_path=run.checkpoint)
    except NonFiniteLossError as error:
        sys.exit(complain(error, NOT_FINITE))
    sys.exit(run.report(run.trainer, run.training, run.data))


def build(config: DictConfig) -> Run:
    """Build every object that ``config`` names.

    Args:
        config: the composed ``configs/train.yaml``.

    Raises:
        HydraException: an object cannot be built.
        ValueError: a setting is not valid.
        ImportError: a package that a setting needs is missing.
    """
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
    return Run(trainer, training, instantiate(config.data), checkpoint, report)


def store_settings(config: DictConfig) -> None:
    """Write the configuration of a run into its folder, as Hydra would have done before the run began.

    Hydra writes before a program can refuse its configuration, and would replace that of the run to be resumed.

    Args:
        config: the composed configuration.
    """
    hydra: Any = HydraConfig.instance().cfg
    settings = Path(hydra.hydra.runtime.output_dir, ".hydra")
    settings.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, settings / "config.yaml")
    OmegaConf.save(OmegaConf.masked_copy(hydra, "hydra"), settings / "hydra.yaml")
    OmegaConf.save(hydra.hydra.overrides.task, settings / "overrides.yaml")


def silence_libraries() -> None:
    """Switch off messages of libraries that do not concern a training run."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hardware tips and advertisements
    warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")
    # The gradient of a 1x1x1 convolution has the same bytes in both memory formats.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    # Lightning recommends a stateful loader. Ours starts at the step of the trainer.
    warnings.filterwarnings(
        "ignore", message="You're resuming from a checkpoint that ended before the epoch ended"
    )


def complain(error: Exception, status: int) -> int:
    """Print ``error`` as one line on the error stream and return ``status``.

    With ``HYDRA_FULL_ERROR=1`` the error is raised instead, with its traceback.

    Args:
        error: the error that ended the run.
        status: exit status of the process.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"train.py: {one_line(error)}", file=sys.stderr)
    return status
