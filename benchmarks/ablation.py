"""What in the generator and the recipe helps on real volumes: one training per change, all alike otherwise.

    python benchmarks/ablation.py --runs outputs/ablation [--steps 800] [--json ablation.json] [VARIANT ...]

Trains ``experiment=zero_shot`` with the small network on 48^3 once as it is and once with each change below, from the
same seed for the same number of steps (and once from another seed, for what chance does), and scores every network on
the real volumes, the size given. A run that is complete in the folder is not trained again. Probabilities are not
comparable between networks this young: each gets the threshold from 0.15 to 0.7 with which its mean F1 over all
volumes is highest, the same for all of them.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import real_volumes
from real_volumes import EMBRYOS, RealVolume
from rich.console import Console
from rich.table import Table

from anystar_torch import AnyStar
from anystar_torch.inference.instances import instances
from anystar_torch.inference.thresholds import scores_of

ROOT = Path(__file__).resolve().parents[1]
CONSOLE = Console(width=120)
THRESHOLDS = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7)

EFFECTS, GROUND = "synth.effects.effects", "synth.world.mixture.background"


def ground(plain: float, rand: float, perlin: float) -> list[str]:
    """Overrides for the shares of the three backgrounds."""
    shares = {"plain": plain, "rand": rand, "perlin": perlin}
    return [f"{GROUND}.{name}={share}" for name, share in shares.items()]


def without(*effects: str) -> list[str]:
    """Overrides that turn effects off."""
    return [f"{EFFECTS}.{effect}.p=0" for effect in effects]


#: name -> what is changed, in Hydra's words; {half} and {twice} stand for numbers of steps
VARIANTS: dict[str, list[str]] = {
    "zero_shot": [],
    "another seed": ["seed=2"],
    "plain ground only": ground(1, 0, 0),
    "rand ground only": ground(0, 1, 0),
    "perlin ground only": ground(0, 0, 1),
    "grounds without texture": ["synth.world.mixture.ground_texture=[0,0]"],
    "no microscope": without("microscope"),
    "isotropic microscope": [
        f"{EFFECTS}.microscope.elongation=[1,1]",
        f"{EFFECTS}.microscope.thickness=[1,1]",
    ],
    "no haze": without("haze"),
    "no noise but the camera's": without("gaussian_noise", "rician_noise"),
    "no k-space effects": without("kspace_spike", "gibbs_ringing", "rician_noise"),
    "no gamma, no inversion": without("contrast", "inversion"),
    "no bias field": [f"{EFFECTS}.bias_field.coefficient=[0,0]"],
    "no dropout": ["synth.finish.dropout.p=0"],
    "outlines at the edge": ["synth.world.outline=[0,0]"],
    "outlines as far along all axes": ["synth.world.out_of_focus=0"],
    "noise-cut shapes": ["synth/surface@synth.world.objects.surface=rough_ball"],
    "AnyStar-mix": ["synth=mix"],
    "half the steps": ["trainer.max_steps={half}"],
    "twice the steps": ["trainer.max_steps={twice}"],
    "half the width": ["model.backbone.filters=8"],
    "twice the width": ["model=medium"],
}


def train(name: str, folder: Path, steps: int) -> None:
    """Train a variant into ``folder``, unless it is there."""
    if (folder / "model" / "config.json").is_file():
        return
    changes = [change.format(half=steps // 2, twice=2 * steps) for change in VARIANTS[name]]
    command = [
        sys.executable, "train.py", "+experiment=zero_shot", "model=small", "shape=[48,48,48]",
        f"trainer.max_steps={steps}", "training.schedule.decay_steps=400", f"trainer.val_check_interval={steps // 2}",
        "data.validation_samples=4", "callbacks.scores.samples=2", "callbacks.average.decay=0.99",
        "report.samples=4", "report.min_f1=0", f"run_folder={folder}", *changes,
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as log:
        done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode:
            log.seek(0)
            raise SystemExit(f"{name} failed ({done.returncode}): {log.read()[-2000:]}")


def score(model: AnyStar, volumes: list[RealVolume]) -> dict[str, Any]:
    """F1 at IoU 0.3 and 0.5 of every volume, at the threshold with the best mean of the latter."""
    found = {}
    for volume in volumes:
        candidates, _ = model.candidates(
            volume.image, volume.spacing, volume.diameter, prob_thresh=THRESHOLDS[0], progress=False
        )
        found[volume.name] = candidates
    best: dict[str, Any] = {}
    for thresh in THRESHOLDS:
        row: dict[str, Any] = {"prob_thresh": thresh}
        for volume in volumes:
            labels = instances(
                found[volume.name].above(thresh), model.config.nms_thresh, averaged=model.averaged
            ).labels
            scores = scores_of(volume.truth, labels)
            row[volume.name] = {f"F1@{t:g}": round(float(scores[t].f1), 4) for t in (0.3, 0.5)}
        row["mean"] = mean(row, "")
        if not best or row["mean"]["F1@0.5"] > best["mean"]["F1@0.5"]:
            best = row
    return best | {"embryos": mean(best, EMBRYOS)}


def mean(row: dict[str, Any], prefix: str) -> dict[str, float]:
    """Of the volumes whose name begins with ``prefix``."""
    rows = [
        v
        for name, v in row.items()
        if name not in ("prob_thresh", "mean", "embryos") and name.startswith(prefix)
    ]
    return {key: round(float(np.mean([values[key] for values in rows])), 4) for key in ("F1@0.3", "F1@0.5")}


def show(results: dict[str, Any]) -> None:
    """One line per variant: all volumes, the embryos."""
    table = Table("", "threshold", "all @0.3", "all @0.5", "embryos @0.3", "embryos @0.5")
    for name, row in results.items():
        table.add_row(
            name, f"{row['prob_thresh']:g}",
            *(f"{row[group][key]:.2f}" for group in ("mean", "embryos") for key in ("F1@0.3", "F1@0.5")),
        )  # fmt: skip
    CONSOLE.print(table)


def main() -> None:
    """Train what is missing, score everything, print as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("variants", nargs="*", help="some of the variants; all of them if none is named")
    parser.add_argument("--runs", type=Path, required=True, help="folder for the run folders")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--data", type=Path, default=real_volumes.DATA)
    parser.add_argument("--json", type=Path, default=None, help="write every figure to this file")
    arguments = parser.parse_args()
    unknown = set(arguments.variants) - set(VARIANTS)
    if unknown:
        parser.error(f"no variant {', '.join(sorted(unknown))}; there are {', '.join(VARIANTS)}")
    volumes = real_volumes.read(arguments.data)
    results = {}
    for name in arguments.variants or VARIANTS:
        folder = (arguments.runs / name.replace(" ", "_").replace(",", "")).absolute()
        CONSOLE.print(f"{name}: {' '.join(VARIANTS[name]) or 'as it is'}")
        train(name, folder, arguments.steps)
        results[name] = score(AnyStar.from_pretrained(folder), volumes)
        show(results)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
