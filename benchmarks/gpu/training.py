"""The section "training" of ``benchmarks.gpu``, and a training of a given duration.

    python -m benchmarks.gpu.training --minutes 5 --out outputs/gpu [--batch 8] [--smoke]

trains the recipe ``zero_shot_gpu`` with a budget of minutes, which chooses the number of steps. OUT keeps ``model/``
(float16), ``train.csv``, ``train.log``.
"""

import argparse
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from anystar_torch.training.budget import stored_steps
from anystar_torch.training.data import Batch
from benchmarks import configs
from benchmarks.gpu.bench import Bench, say
from benchmarks.header import ROOT, Header

WITHOUT = [  # nothing but the step: no validation, no files
    "logger=none",
    "~callbacks.checkpoint",
    "~callbacks.samples",
    "~callbacks.progress",
    "~callbacks.scores",
    "+trainer.enable_checkpointing=false",
    "+trainer.enable_progress_bar=false",
    "+trainer.limit_val_batches=0",
]
WARM_UP = 10  # steps: compilation, choice of convolutions, capture of the graph
SHARE = 0.8  # of the minutes that are the budget of the training; the rest is its start and report
REHEARSAL = 0.05  # minutes of the budget


class Recipe(NamedTuple):
    """A network on its generator."""

    experiment: str
    model: str
    batch: int


RECIPES = (Recipe("mix", "anystar", 2), Recipe("zero_shot", "light", 8))


def training(bench: Bench) -> None:
    """Time of steps in Lightning's loop, in the precision of ``hardware=gpu``, with and without synthesis."""
    for recipe in RECIPES:
        if bench.smoke:
            recipe = recipe._replace(model="small", batch=2)
        for stored in (True, False):
            name = f"{recipe.model} on {recipe.experiment}, batch {recipe.batch}"
            name += ", stored samples" if stored else ", with synthesis"
            if bench.skip(name):
                continue
            with bench.row(name) as figures:
                figures |= fit(bench, recipe, steps=2 if bench.smoke else 30, stored=stored)


def fit(bench: Bench, recipe: Recipe, *, steps: int, stored: bool) -> dict[str, Any]:
    """Train for ``steps`` after a warm-up; milliseconds per step, samples per second, share of waiting."""
    from hydra.utils import instantiate

    quiet()
    warm_up = 1 if bench.smoke else WARM_UP
    overrides = [
        f"+experiment={recipe.experiment}",
        f"hardware={'cpu' if bench.smoke else 'gpu'}",
        f"model={recipe.model}",
        f"shape=[{bench.size},{bench.size},{bench.size}]",
        f"batch_size={recipe.batch}",
        f"trainer.max_steps={warm_up + steps}",
        "run_folder=unused",
        *WITHOUT,
    ]
    config = configs.training_config(overrides)
    L.seed_everything(0, verbose=False)
    model, data = instantiate(config.training), instantiate(config.data)
    clock = StepClock(bench, data)
    callbacks = [*instantiate(config.callbacks).values(), clock]
    trainer = instantiate(config.trainer, callbacks=callbacks, logger=[])
    if stored:
        made = data.make(torch.arange(recipe.batch, device=bench.device), data.synthesizer)
        data.train_dataloader = lambda: Stored(made, warm_up + steps)
    trainer.fit(model, datamodule=data)
    return clock.figures(warm_up, recipe.batch)


class Stored(Sized):
    """A loader that returns the same batch at every step."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self.batch, self.steps = batch, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.steps):
            yield self.batch


class StepClock(Callback):
    """Records the end of every step on the device, without a synchronisation."""

    def __init__(self, bench: Bench, data: Any) -> None:
        self.bench, self.data = bench, data
        self.marks: list[Any] = []
        self.waited: list[float] = []
        self.host: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Mark the end of a step."""
        self.host.append(time.perf_counter())
        self.waited.append(getattr(self.data, "waited_seconds", 0.0))
        if self.bench.device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)

    def figures(self, warm_up: int, batch: int) -> dict[str, Any]:
        """Figures of the steps after the warm-up."""
        self.bench.wait()
        if self.marks:
            taken = [
                first.elapsed_time(last) for first, last in zip(self.marks, self.marks[1:], strict=False)
            ]
        else:
            taken = [1e3 * (last - first) for first, last in zip(self.host, self.host[1:], strict=False)]
        measured = taken[warm_up - 1 :]
        whole = sum(measured)
        return {
            "ms per step": statistics.median(measured),
            "mean ms": whole / len(measured),
            "most": max(measured),
            "samples/s": 1e3 * batch * len(measured) / whole,
            "host ms": 1e3 * (self.host[-1] - self.host[warm_up - 1]) / len(measured),
            "share waited": 1e3 * (self.waited[-1] - self.waited[warm_up - 1]) / whole,
        }


def quiet() -> None:
    """Silence Lightning's hints."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning")


# ---- a training that fits a time ----------------------------------------------------------------


def train(minutes: float, batch: int, out: Path, smoke: bool) -> dict[str, Any]:
    """Train the recipe for about ``minutes`` in all, and keep weights, log and scores in ``out``."""
    bench = Bench("train", smoke=smoke, seconds=60 * minutes)
    recipe = Recipe("zero_shot_gpu", "small" if bench.smoke else "light", batch)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        # a rehearsal finds errors; its time does not matter
        budget, seconds = (REHEARSAL, 600.0) if bench.smoke else (SHARE * minutes, 60 * (minutes + 1))
        status = train_script(command(recipe, budget, run, bench), out / "train.log", seconds)
        figures: dict[str, Any] = {"minutes": minutes, "exit status": status}
        if (run / ".hydra" / "config.yaml").is_file():
            figures["steps"] = stored_steps(str(run))
        keep(run, recipe.model, out, figures)
    return figures


def command(recipe: Recipe, minutes: float, run: Path, bench: Bench) -> list[str]:
    """The command line of the training."""
    arguments = [
        f"+experiment={recipe.experiment}",
        f"hardware={'cpu' if bench.smoke else 'gpu'}",
        f"model={recipe.model}",
        f"batch_size={recipe.batch}",
        f"minutes={minutes:g}",
        "report.min_f1=0",
        f"run_folder={run}",
    ]
    if bench.smoke:
        arguments += [f"shape=[{bench.size},{bench.size},{bench.size}]", "data.validation_samples=2"]
        arguments += ["report.samples=1", "callbacks.scores.samples=1", "callbacks.scores.pictures=1"]
    return [sys.executable, "train.py", *arguments]


def train_script(command: Sequence[str], log: Path, seconds: float) -> int | str:
    """Run the training; its output goes to ``log``, and the last lines also to the standard output."""
    say(" ".join(command[1:]))
    try:
        with log.open("w") as file:
            done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=seconds)
        status: int | str = done.returncode
    except subprocess.TimeoutExpired:
        status = "stopped at its time limit"
    text = log.read_text(errors="replace")
    log.write_text(text[-200_000:])
    say("\n".join(f"  | {line}" for line in text.splitlines()[-40:]))
    return status


def keep(run: Path, model: str, out: Path, figures: dict[str, Any]) -> None:
    """Store weights in float16 and the log; of a stopped run, the averaged weights of its last checkpoint."""
    from anystar_torch.network import loading, weights
    from anystar_torch.training.checkpoints import LAST, averaged_weights

    for log in run.glob("csv/*/metrics.csv"):
        shutil.copyfile(log, out / "train.csv")
    checkpoint = run / "checkpoints" / LAST
    if (run / "model" / weights.WEIGHTS).is_file():
        network, config = weights.load(run / "model")
        figures["synthetic F1"] = config.provenance.synthetic_f1
    elif checkpoint.is_file():
        network = configs.network(model)
        network.load_state_dict(averaged_weights(checkpoint))
        config = replace(loading.load_model()[1], architecture=network.architecture)
        figures["note"] = "stopped early: weights of the last checkpoint, thresholds of the shipped network"
    else:
        figures["note"] = "no weights"
        return
    weights.save(out / "model", network, config, dtype=torch.float16)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "gpu")
    parser.add_argument("--smoke", action="store_true", help="a few steps of a small network on the CPU")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    say(Header.now(packages=("triton", "lightning"), gpu=torch.cuda.is_available() and not arguments.smoke))
    figures = train(arguments.minutes, arguments.batch, arguments.out.resolve(), arguments.smoke)
    say(json.dumps(figures, indent=1))
    file = arguments.out / "gpu.json"
    results = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(results | {"train": figures}, indent=1))
    sys.exit(figures["exit status"] != 0)


if __name__ == "__main__":
    main()
