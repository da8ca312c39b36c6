"""Log pictures, and make a Weights & Biases logger that continues the run of a resumed training."""

import importlib
import importlib.util
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from anystar_torch.io.atomic import atomic_write


def log_picture(loggers: Iterable[Logger], tag: str, path: Path, step: int) -> None:
    """Log a picture in every logger that accepts pictures: TensorBoard, and Weights & Biases.

    Args:
        loggers: loggers of the trainer.
        tag: name of the picture.
        path: the picture, .png.
        step: training step.
    """
    from matplotlib.image import imread

    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, imread(path)[..., :3], step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [str(path)], step=step)


def finish(loggers: Iterable[Logger]) -> None:
    """End the run of Weights & Biases. A logger that is made while there is one would write into it.

    Args:
        loggers: loggers of the trainer.
    """
    if any(isinstance(logger, WandbLogger) for logger in loggers):
        wandb: Any = importlib.import_module("wandb")
        if wandb.run is not None:
            wandb.finish()


def weights_and_biases(*, folder: str, **settings: Any) -> WandbLogger:
    """A Weights & Biases logger. The id of its run is stored in the run folder, so a resumed training continues it.

    Args:
        folder: the run folder.
        settings: arguments of :class:`lightning.pytorch.loggers.WandbLogger` (project, name, offline, ...).

    Raises:
        ImportError: wandb is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise ImportError(
            "the Weights & Biases logger needs the wandb package: pip install wandb, or choose another logger"
        )
    return WandbLogger(save_dir=folder, id=_run_id(folder), resume="allow", **settings)


@rank_zero_only  # other ranks log nothing
def _run_id(folder: str) -> str:
    """Random id of the run in Weights & Biases, stored in the run folder."""
    path = Path(folder, "wandb_id")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as temporary:
            temporary.write_text(secrets.token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()
