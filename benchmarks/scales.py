"""At what size objects are best shown to a network, and what a second look from further away adds.

    python benchmarks/scales.py [MODEL ...] [--sizes 10 12 14 17 20] [--json FILE]

Real volumes are given the size; what differs from row to row is how many network voxels across their objects are when
the network sees them. Each row has the threshold with which its mean F1 at IoU 0.5 over all volumes is highest, as in
``compare.py``.
"""

import json
from typing import Any

import real_volumes
from compare import networks, real, show, shown

from anystar_torch import AnyStar


def main() -> None:
    """Score every network at every size, with one look and with two; print as it grows."""
    parser = networks(__doc__)
    parser.add_argument("--sizes", type=float, nargs="+", default=[10, 12, 14, 17, 20], help="network voxels")
    arguments = parser.parse_args()
    volumes = real_volumes.read(arguments.data)
    results: dict[str, dict[str, Any]] = {}
    for path in arguments.models or [None]:
        model = AnyStar.from_pretrained(path)
        for size in arguments.sizes:
            rescaling = shown(model, size)
            for twice in (False, True):
                rescaling.multiscale = twice
                looks = "two looks" if twice else "one look"
                results[f"{path or 'shipped'}, {size:g} voxels, {looks}"] = real(rescaling, volumes)
        show(results)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
