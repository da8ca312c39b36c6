"""The size that objects are best rescaled to for a network, and what the coarse pass adds.

    python -m benchmarks.real_volumes sizes [MODEL ...] [--sizes 10 12 14 17 20] [--json FILE]

Real volumes are given the size. Rows differ in the diameter of the objects in network voxels. Each row has the
threshold with the highest mean F1 at IoU 0.5 over all volumes, as in the command ``compare``.
"""

import argparse

from anystar_torch import AnyStar
from benchmarks.real_volumes import volumes as real_volumes
from benchmarks.real_volumes.networks import Results, models_parser, real, rescaled, tables
from benchmarks.report import begin


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = models_parser(__doc__)
    made.add_argument("--sizes", type=float, nargs="+", default=[10, 12, 14, 17, 20], help="network voxels")
    return made


def run(options: argparse.Namespace) -> None:
    """Score every network at every size, with one pass and with both; report as the results grow."""
    volumes = real_volumes.read(options.data)
    report = begin(options)
    results: Results = {}
    for path in options.models or [None]:
        model = AnyStar.from_pretrained(path)
        for size in options.sizes:
            seen = rescaled(model, size)
            for coarse in (False, True):
                seen.coarse_pass = coarse
                passes = "both passes" if coarse else "fine pass"
                results[f"{path or 'shipped'}, {size:g} voxels, {passes}"] = real(seen, volumes)
        tables(results, report)
