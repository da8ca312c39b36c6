"""Loggers beyond Lightning's: pictures into whichever can show them, and Weights & Biases that says what it needs."""

import importlib.util
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only


def log_picture(loggers: Iterable[Logger], tag: str, path: Path, step: int) -> None:
    """Shows the picture ``path`` (.png) under ``tag`` in every logger that takes pictures (TensorBoard, W&B)."""
    from matplotlib.image import imread

    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, imread(path)[..., :3], step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [str(path)], step=step)


def weights_and_biases(*, folder: str, **settings: Any) -> WandbLogger:
    """A W&B logger whose run goes on when the training is resumed: the run's id lies in the run folder.

    Args:
        folder: the run folder.
        settings: of :class:`lightning.pytorch.loggers.WandbLogger` (project, name, offline, ...).

    Raises:
        ImportError: wandb is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise ImportError(
            "logger=wandb needs the wandb package: pip install wandb, or leave logger=wandb out"
        )
    return WandbLogger(save_dir=folder, id=_run_id(folder), resume="allow", **settings)


@rank_zero_only  # the others log nothing
def _run_id(folder: str) -> str:
    """What W&B calls the run: made up once, kept in its folder."""
    path = Path(folder, "wandb_id")
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text().strip()
