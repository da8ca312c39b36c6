"""The mean of the weights of several networks, written as a model.

    python -m benchmarks.real_volumes mean --out FOLDER MODEL MODEL [...] [--shares 0.5 0.25 0.25]

All networks have one architecture, and their trainings started from the same weights (model soups, Wortsman et al.
2022). Thresholds and sizes are those of the first network. Branches of a recipe make such a mean by themselves; this
command tries others.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from anystar_torch import AnyStar
from anystar_torch.network import weights
from anystar_torch.network.mean_weights import mean_weights
from anystar_torch.network.provenance import Provenance
from benchmarks.header import hash_of_weights
from benchmarks.report import begin
from benchmarks.report import parser as common


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__)
    made.add_argument("models", nargs="+", type=Path, help="model or run folders")
    made.add_argument("--out", type=Path, required=True, help="folder of the model")
    made.add_argument("--shares", type=float, nargs="+", help="of each network; default: equal ones")
    return made


def run(options: argparse.Namespace) -> None:
    """Write the mean, in float16, and print what it is made of."""
    models = [AnyStar.from_pretrained(path) for path in options.models]
    shares = options.shares or [1 / len(models)] * len(models)
    if len(shares) != len(models) or abs(sum(shares) - 1) > 1e-3:
        raise SystemExit(f"--shares must be {len(models)} numbers with the sum 1, got {shares}")
    report = begin(options)
    first = models[0]
    first.network.load_state_dict(mean_weights([one.network.state_dict() for one in models], shares))
    mean = AnyStar(first.network, replace(first.config, receptive_field=None, provenance=Provenance()))
    config = replace(
        mean.config,
        receptive_field=mean.tile_network("cpu").halo,
        provenance=Provenance(notes={"mean of": [str(path) for path in options.models], "shares": shares}),
    )
    weights.save(options.out, mean.network, config, torch.float16)
    rows = [
        {"network": str(path), "weights": hash_of_weights(path), "share": share}
        for path, share in zip(options.models, shares, strict=True)
    ]
    report.table("parts", rows)
    print(f"wrote {options.out}: weights {hash_of_weights(options.out)}")
