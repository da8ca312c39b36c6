"""Train a network: ``python train.py +experiment=mix [group=choice] [key=value]``.

Hydra composes ``configs/train.yaml``, everything named there is instantiated, Lightning fits, and a report says how
good the network is, on synthetic samples and on a real volume, and where it lies.
"""

import logging
import os
import sys
import warnings
from typing import Any

import hydra
import lightning as L
from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig

from anystar_torch.configuration.compose import one_line
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.system.allocator import keep_freed_memory
from anystar_torch.training.callbacks import NonFiniteLossError
from anystar_torch.training.checkpoints import last_checkpoint
from anystar_torch.training.module import warm_start

register_resolvers()
logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # hardware tips and advertisements
warnings.filterwarnings("ignore", module="lightning.pytorch.utilities._pytree")  # of its own making
warnings.filterwarnings(
    "ignore", message="Grad strides do not match bucket view strides"
)  # 1x1x1: the same bytes
# Lightning wants loaders that know where they were; ours begin at the trainer's step.
warnings.filterwarnings(
    "ignore", message="You're resuming from a checkpoint that ended before the epoch ended"
)

WRONG = 2  # exit status of a run that could not begin


@hydra.main(version_base="1.3", config_path="configs", config_name="train")
def main(config: DictConfig) -> None:
    """Fits what ``config`` describes; exits with 1 if the network learned nothing, with 130 if it was stopped."""
    keep_freed_memory()
    try:
        trainer, report, fitted = assembled(config)
    except (HydraException, ValueError, ImportError) as error:
        sys.exit(complain(error, WRONG))
    try:
        trainer.fit(**fitted)
    except NonFiniteLossError as error:
        sys.exit(complain(error, 1))
    sys.exit(report(trainer, fitted["model"], fitted["datamodule"]))


def assembled(config: DictConfig) -> tuple[L.Trainer, Any, dict[str, Any]]:
    """Trainer, report and what the trainer fits; a resumed run takes its weights from its checkpoint."""
    L.seed_everything(config.seed, verbose=False)
    checkpoint = last_checkpoint(config.resume)
    report = instantiate(config.report)
    training = instantiate(config.training)
    if config.warm_start is not None and checkpoint is None:
        warm_start(training.network, config.warm_start)
    trainer = instantiate(
        config.trainer,
        callbacks=list(instantiate(config.callbacks).values()),
        logger=list(instantiate(config.logger).values()),
    )
    return (
        trainer,
        report,
        {"model": training, "datamodule": instantiate(config.data), "ckpt_path": checkpoint},
    )


def complain(error: Exception, status: int) -> int:
    """One line on the error stream instead of a traceback, unless HYDRA_FULL_ERROR=1 asks for it; the exit status."""
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        raise error
    print(f"train.py: {one_line(error)}", file=sys.stderr)
    return status


if __name__ == "__main__":
    main()
