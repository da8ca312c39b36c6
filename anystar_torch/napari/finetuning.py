"""Fine-tuning on corrected labels: the command line is started in the background, and its model is used afterwards."""

import csv
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer, Shaped

from anystar_torch.arrays import Spacing
from anystar_torch.napari.background import Progress
from anystar_torch.napari.layer_volume import Box
from anystar_torch.napari.models import SHIPPED

_PROGRAM = "import sys; sys.argv[0] = 'anystar'; from anystar_torch.cli import main; main()"
_COMMAND = (sys.executable, "-c", _PROGRAM, "train")
_PREFIXES = ("anystar train: ", "anystar: ")  # of its messages
_POLL = 0.5  # seconds between two readings of its state


@dataclass(frozen=True)
class Corrected:
    """A volume with labels that a person has checked in a box.

    Attributes:
        image: the volume, (z, y, x).
        labels: the labels now.
        box: the part that was checked; None for the whole volume.
        spacing: voxel size (z, y, x); None for the voxel shape that the network was trained on.
    """

    image: Shaped[np.ndarray, "d h w"]
    labels: Integer[np.ndarray, "d h w"]
    box: Box | None = None
    spacing: Spacing | None = None

    def write(self, folder: Path) -> str:
        """Write image and labels into a folder.

        Args:
            folder: is made where it is missing.

        Returns:
            The entry of ``data.annotated`` that describes them.
        """
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / "image.npy", self.image)
        np.save(folder / "labels.npy", self.labels.astype(np.int32))
        entry = {
            "image": _quoted(folder / "image.npy"),
            "labels": _quoted(folder / "labels.npy"),
        }
        if self.spacing is not None:
            entry["spacing"] = json.dumps([float(step) for step in self.spacing])
        if self.box is not None:
            entry["boxes"] = json.dumps([[[part.start, part.stop] for part in self.box]])
        return "{" + ",".join(f"{key}:{value}" for key, value in entry.items()) + "}"


def command(
    entry: str, folder: Path, model: str, minutes: float | int, options: Sequence[str] = ()
) -> list[str]:
    """The words of the command that fine-tunes a model.

    Args:
        entry: of ``data.annotated``.
        folder: the run folder.
        model: name of the model to start from.
        minutes: length of the training.
        options: more overrides.
    """
    return [
        *_COMMAND,
        "+experiment=finetune",
        f"data.annotated=[{entry}]",
        f"minutes={minutes:g}",
        f"hydra.run.dir={_quoted(folder)}",
        *([] if model == SHIPPED else [f"warm_start={_quoted(Path(model))}"]),
        *options,
    ]


def _quoted(path: Path) -> str:
    """A path as a quoted string of Hydra, which takes all letters as they are."""
    # Hydra removes backslashes only before a quotation mark; JSON would double all of them.
    text = re.sub(r'(\\+)(?="|\Z)', r"\1\1", path.as_posix())
    return '"' + text.replace('"', '\\"') + '"'


def fine_tune(words: Sequence[str], folder: Path, progress: Progress) -> Path:
    """Run a fine-tuning and wait for its end.

    Args:
        words: of the command.
        folder: the run folder.
        progress: receives the steps; it can end the training.

    Returns:
        The folder of the model.

    Raises:
        CancelledError: the user ended the training.
        ValueError: the training failed; the message is its last line.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                progress("fine-tuning", steps_done(folder), 0)
                try:
                    process.wait(_POLL)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode:
        lines = log.read_text("locale", errors="replace").strip().splitlines() or ["it wrote no message"]
        reason = lines[-1]
        for prefix in _PREFIXES:
            reason = reason.removeprefix(prefix)
        raise ValueError(f"the fine-tuning failed: {reason} (all of it is in {log})")
    return folder / "model"


def steps_done(folder: Path) -> int:
    """Steps of a training so far, by its table of metrics; 0 where there is none yet.

    Args:
        folder: the run folder.
    """
    tables = sorted(folder.rglob("metrics.csv"))
    if not tables:
        return 0
    with tables[-1].open(newline="", encoding="utf-8") as file:
        steps = [row.get("step") for row in csv.DictReader(file)]
    return max((int(step) for step in steps if step and step.isdigit()), default=0)
