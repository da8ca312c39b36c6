"""Which parts of the generator and of the recipe help: one training per change, all else equal.

    python -m benchmarks.real_volumes ablate generator --runs outputs/generator [--steps 400] [VARIANT ...]
    python -m benchmarks.real_volumes ablate recipe --runs outputs/recipe [--steps 500] [VARIANT ...]
    python -m benchmarks.real_volumes ablate network --runs outputs/network [--steps 600] [VARIANT ...]

``generator`` continues from the shipped weights with ``experiment=zero_shot`` (light network, 64^3). One training has
no change, one has another seed, and one has each change below. All others have the same seed, and all have the same
number of steps. The second seed measures chance. Trainings from random weights are too short on two cores: two seeds
then differ by more than most changes.

``recipe`` trains the small network from random weights with the same generator. The loss on the same synthetic samples
compares the trainings, because F1 is imprecise so early. Rows have seen the same number of samples unless their name
says otherwise.

Every network is scored as in the command ``compare``, each at the threshold that suits it best. A run that is complete
in the folder is not trained again. A folder belongs to one generator: give another one where configs/ has changed.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from anystar_torch import AnyStar
from benchmarks.header import ROOT
from benchmarks.real_volumes import volumes as real_volumes
from benchmarks.real_volumes.networks import Results, changed, real, synthetic, tables
from benchmarks.report import begin
from benchmarks.report import parser as common

EFFECTS, BACKGROUND = "synth.effects.effects", "synth.scene.mixture.background"


def background(plain: float, rand: float, perlin: float) -> list[str]:
    """Overrides for the shares of the three backgrounds."""
    shares = {"plain": plain, "rand": rand, "perlin": perlin}
    return [f"{BACKGROUND}.{name}={share}" for name, share in shares.items()]


def without(*effects: str) -> list[str]:
    """Overrides that turn effects off."""
    return [f"{EFFECTS}.{effect}.p=0" for effect in effects]


#: name -> what is changed in the generator, in Hydra's words
GENERATOR: dict[str, list[str]] = {
    "zero_shot": [],
    "another seed": ["seed=2"],
    "plain background only": background(1, 0, 0),
    "rand background only": background(0, 1, 0),
    "perlin background only": background(0, 0, 1),
    "backgrounds without texture": ["synth.scene.mixture.background_texture=[0,0]"],
    "no displaced background": ["synth.scene.displaced_background.p=0"],
    "no microscope": without("microscope"),
    "isotropic microscope": [
        f"{EFFECTS}.microscope.elongation=[1,1]",
        f"{EFFECTS}.microscope.thickness=[1,1]",
    ],
    "no out-of-focus light": without("out_of_focus"),
    "no noise": [
        *without("gaussian_noise", "rician_noise"),
        f"{EFFECTS}.microscope.camera.p=0",
        "synth.finish.noise.effects.detector_noise.p=0",
    ],
    "no k-space effects": without("kspace_spike", "gibbs_ringing", "rician_noise"),
    "no gamma, no inversion": without("contrast", "inversion", "histogram_shift"),
    "no bias field, no dropout": [f"{EFFECTS}.bias_field.coefficient=[0,0]", "synth.finish.dropout.p=0"],
    "outlines at the edge": ["synth.scene.outline.widths=[0,0]", "synth.scene.displaced_background.p=0"],
    "outlines as far along all axes": ["synth.scene.outline.defocus=0"],
    "noise-cut shapes": ["synth/surface@synth.scene.objects.surface=rough_ball"],
    "AnyStar-mix": ["synth=mix"],
}

#: name -> what is changed in the network or its training; {half} and {twice} stand for numbers of steps
RECIPE: dict[str, list[str]] = {
    "small": [],
    "another seed": ["seed=2"],
    "half the width": ["model.backbone.filters=8"],
    "twice the width (medium)": ["model=medium"],
    "depth 2": ["model.backbone.depth=2"],
    "32 rays": ["model.rays=32"],
    "learning rate 3e-4": ["training.optimizer.lr=3e-4"],
    "learning rate 3e-3": ["training.optimizer.lr=3e-3"],
    "batches of 4, half the steps": [
        "batch_size=4",
        "trainer.max_steps={half}",
        "trainer.val_check_interval={half}",
    ],
    "twice the steps": ["trainer.max_steps={twice}"],
}

LIGHT = "model=light"
#: name -> network; {same_time} stands for the steps of medium in the training time of light
NETWORK: dict[str, list[str]] = {
    "medium": ["model=medium"],
    "medium, as long as light": [
        "model=medium",
        "trainer.max_steps={same_time}",
        "trainer.val_check_interval={same_time}",
    ],
    "small": ["model=small"],
    "light": [LIGHT],
    "light, another seed": [LIGHT, "seed=2"],
    "light, three quarters of the width": [LIGHT, "model.backbone.widths=[24,48,96,192]"],
    "light, twice the width below the grid": [LIGHT, "model.backbone.widths=[32,128,256,512]"],
    "light, two blocks a level": [LIGHT, "model.backbone.blocks=2"],
    "light, 128 features before the heads": [LIGHT, "model.features=128"],
}
TABLES = {"generator": GENERATOR, "recipe": RECIPE, "network": NETWORK}
STEPS = {"generator": 400, "recipe": 500, "network": 600}


def train(folder: Path, overrides: Sequence[str]) -> None:
    """Train ``experiment=zero_shot`` with ``overrides`` into ``folder``, unless it is there. A stopped run is resumed.

    Raises:
        SystemExit: the training failed, or the folder holds another one.
    """
    config = folder / "model" / "config.json"
    if config.is_file():
        command = shlex.split(json.loads(config.read_text())["provenance"]["command"])
        if any(override not in command for override in overrides):
            raise SystemExit(f"{folder} holds another training: remove it or give another --runs folder")
        return
    command = [
        sys.executable,
        "train.py",
        "+experiment=zero_shot",
        "stages=[]",
        "model=light",
        "callbacks.scores.samples=2",
        "report.samples=2",
        "report.min_f1=0",
        f"run_folder={folder}",
        *([f"resume={folder}"] if (folder / "checkpoints" / "last.ckpt").is_file() else []),
        *overrides,
    ]
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            log.seek(0)
            raise SystemExit(f"{folder.name} failed ({done.returncode}): {log.read()[-2000:]}")


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__)
    made.add_argument("what", choices=tuple(TABLES))
    made.add_argument("variants", nargs="*", help="some of the variants; all of them if none is named")
    made.add_argument("--runs", type=Path, required=True, help="folder for the run folders")
    made.add_argument("--steps", type=int, help=f"default: {STEPS}")
    made.add_argument(
        "--precision", help="of every training, for example bf16-mixed; default: that of the recipe"
    )
    made.add_argument(
        "--medium-step",
        type=float,
        default=2.2,
        help="training time of a step of the medium network over that of the light one (benchmarks.networks)",
    )
    made.add_argument("--data", type=Path, default=real_volumes.DATA)
    return made


def run(options: argparse.Namespace) -> None:
    """Train what the folder lacks, score everything, and report as the results grow."""
    generator = options.what == "generator"
    table = TABLES[options.what]
    unknown = set(options.variants) - set(table)
    if unknown:
        raise SystemExit(f"no variant {', '.join(sorted(unknown))}; there are {'; '.join(table)}")
    volumes = real_volumes.read(options.data)
    report = begin(options)
    steps = options.steps or STEPS[options.what]
    numbers = {"half": steps // 2, "twice": 2 * steps, "same_time": round(steps / options.medium_step)}
    results: Results = {}
    for name in options.variants or table:
        changes = [change.format(**numbers) for change in table[name]]
        print(f"{name}: {' '.join(changes) or 'as it is'}", flush=True)
        folder = options.runs / re.sub(r"\W+", "_", name).strip("_")
        precision = [f"trainer.precision={options.precision}"] if options.precision else []
        train(folder.absolute(), [*common_settings(generator, steps), *precision, *changes])
        model = AnyStar.from_pretrained(folder)
        results[name] = {"giga multiply-adds": multiply_adds(model)} if options.what == "network" else {}
        results[name] |= {"loss": synthetic(model, "zero_shot", 16)} | real(model, volumes)
        if generator:
            results[name]["appearances"] = changed(model, volumes, results[name]["prob_thresh"])
        tables(results, report)


def multiply_adds(model: AnyStar) -> float:
    """Multiply-adds of a forward pass over 64^3, in 10^9."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.network.logits(torch.zeros(1, 1, 64, 64, 64))
    return round(counter.get_total_flops() / 2e9, 2)


def common_settings(generator: bool, steps: int) -> list[str]:
    """What all variants have in common."""
    return [
        "warm_start=pretrained" if generator else "model=small",
        f"trainer.max_steps={steps}",
        "training.schedule.warmup_steps=50",
        f"training.schedule.decay_steps={steps // 2}",
        f"trainer.val_check_interval={steps}",
        "data.validation_samples=2",
        "callbacks.average.decay=0.98",
    ]
