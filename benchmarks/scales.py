"""At what size objects are best shown to a network, and what a second look from further away adds.

    python benchmarks/scales.py [MODEL ...] [--sizes 10 12 14 17 20] [--json FILE]

Real volumes are given the size; what differs from row to row is how many network voxels across their objects are when
the network sees them. Each row has the threshold with which its mean F1 at IoU 0.5 over all volumes is highest, as in
``compare.py``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import real_volumes
from compare import real, show

from anystar_torch import AnyStar


def main() -> None:
    """Score every network at every size, with one look and with two; print as it grows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", type=Path, help="model or run folders; the shipped one if none")
    parser.add_argument("--sizes", type=float, nargs="+", default=[10, 12, 14, 17, 20], help="network voxels")
    parser.add_argument("--data", type=Path, default=real_volumes.DATA)
    parser.add_argument("--json", type=Path, default=None, help="write every figure to this file")
    arguments = parser.parse_args()
    volumes = real_volumes.read(arguments.data)
    results: dict[str, dict[str, Any]] = {}
    for path in arguments.models or [None]:
        model = AnyStar.from_pretrained(path)
        expected = model.config.diameter_band[1]
        for size in arguments.sizes:
            shown = [replace(volume, diameter=volume.diameter * expected / size) for volume in volumes]
            for twice in (False, True):
                model.multiscale = twice
                looks = "two looks" if twice else "one look"
                results[f"{path or 'shipped'}, {size:g} voxels, {looks}"] = real(model, shown)
        show(results)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
