"""What the model of a training says of the model that it started from."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from anystar_torch.network.loading import load_model
from anystar_torch.network.provenance import FINE_TUNED_ON, START_IMPORTED_FROM
from anystar_torch.training.annotation import name_of
from anystar_torch.training.run_folder import stored_config

PRETRAINED = "pretrained"
"""Value of ``warm_start`` for the shipped weights."""

_MOST = 100  # runs, each of which started from the one before


def start_notes(folder: Path | str) -> dict[str, Any]:
    """Notes for the provenance of a run: the first model, the volumes that it was fine-tuned on, and who trained it.

    A stage, and another run folder without a model, is followed to what it started from itself.

    Args:
        folder: the run folder. Its stored configuration is read.

    Returns:
        "start", the first model; "fine-tuned on", the names of the volumes, if there are any; "start imported from",
        the software that trained the first model, if it was other software. Empty if the run started from random
        weights.
    """
    start: str | None = None
    tuned: list[str] = []
    software: str | None = None
    for _ in range(_MOST):
        config = stored_config(folder)
        tuned += [] if config is None else _annotated(config)
        before = None if config is None else config.get("warm_start")
        if before is None:
            break
        start = str(before)
        if start == PRETRAINED or stored_config(start) is None or Path(start, "model").is_dir():
            named, software = _of_model(start)
            tuned += named
            break
        folder = start
    notes = {"start": start, FINE_TUNED_ON: tuned, START_IMPORTED_FROM: software}
    return {name: value for name, value in notes.items() if value}


def _annotated(config: Any) -> list[str]:
    """Names of the annotated volumes of a fine-tuning."""
    return [name_of(one["image"]) for one in OmegaConf.select(config, "data.annotated", default=None) or ()]


def _of_model(start: str) -> tuple[list[str], str | None]:
    """Names of the volumes that a model was fine-tuned on, and the other software that trained it, if any."""
    try:
        _, config = load_model(None if start == PRETRAINED else start)
    except (ValueError, ImportError):  # it was removed while the run trained
        return [], None
    software = config.imported_from or config.provenance.start_imported_from
    return list(config.provenance.fine_tuned_on), software
