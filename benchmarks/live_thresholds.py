"""Time from a move of a slider to new labels: 1,000 objects, 200^3 voxels, 96 rays.

    python -m benchmarks.live_thresholds

Objects are spheres with noise in their distances; every one has 57 candidates. The first line is what a run computes
for all thresholds. Each other line is one move. CPU seconds are those of all threads; with ``--threads 1`` they are the
time of a move on a machine with nothing else to do.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from anystar_torch import Rays
from anystar_torch.inference.candidates import Candidates, merge
from anystar_torch.inference.live import LiveObjects
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import TileCandidates
from benchmarks.report import begin, parser

SIDE, STEP, RADIUS = 10, 20, 8.0
FIRST = (0.5, 0.3)
MOVES = [(0.55, 0.3), (0.6, 0.3), (0.5, 0.4), (0.55, 0.4), (0.3, 0.4), (0.35, 0.4)]
MOVES += [(0.1, 0.2), (0.1, 0.6), (0.1, 0.9)]


def candidates() -> Candidates:
    """Candidates around the centres of a lattice of spheres."""
    rays, rng = Rays.golden_spiral(96), np.random.default_rng(0)
    lattice = np.stack(np.meshgrid(*[np.arange(SIDE) * STEP + STEP // 2] * 3, indexing="ij"), -1).reshape(
        -1, 3
    )
    offsets = np.stack(np.meshgrid(*[np.arange(-4, 5, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    offsets = offsets[(offsets**2).sum(1) <= 20]
    along = offsets @ rays.vertices.numpy().T
    far = (offsets**2).sum(1)[:, None]
    exact = np.sqrt(along**2 - far + RADIUS**2) - along
    points = (lattice[:, None] + offsets).reshape(-1, 3)
    distances = np.tile(exact, (len(lattice), 1)) * (1 + 0.05 * rng.standard_normal((len(points), len(rays))))
    depth = 1 - 0.9 * np.sqrt(np.tile(far[:, 0], len(lattice))) / RADIUS
    scores = (depth + 0.02 * rng.standard_normal(len(points))).clip(0.05, 0.99)
    part = TileCandidates(points.astype("f4"), distances.astype("f2"), scores.astype("f4"))
    shape = (SIDE * STEP,) * 3
    return merge([part], rays, Scaling(shape, shape), 2 * RADIUS, 0.0)


def timed(function: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    """Seconds and CPU seconds of one call, and what it returns."""
    wall, work = time.perf_counter(), time.process_time()
    result = function()
    return {"seconds": time.perf_counter() - wall, "CPU seconds": time.process_time() - work}, result


def main() -> None:
    """Measure every move."""
    report = begin(parser(__doc__).parse_args())
    live = LiveObjects(candidates())
    LiveObjects(live.candidates.first(100)).at(0.9, 0.3)  # loads the native module
    prepared, _ = timed(lambda: (live.prepare(0.3), live.at(*FIRST)))
    rows: list[dict[str, Any]] = [{"move": "none: the end of a run", "candidates": 57 * SIDE**3, **prepared}]
    for prob, overlap in MOVES:
        times, found = timed(lambda prob=prob, overlap=overlap: live.at(prob, overlap))
        above = int((live.candidates.scores > prob).sum())
        rows.append(
            {
                "move": f"prob_thresh {prob:g}, nms_thresh {overlap:g}",
                "candidates": above,
                "objects": len(found),
                **times,
            }
        )
    report.table("Moves", rows)


if __name__ == "__main__":
    main()
