"""Suppression and rendering (and targets) beside StarDist's, in one run, on the same number of threads.

    python benchmarks/geometry.py [--quick] [--threads 2] [--repeats 3]

Prints a table of medians in seconds, and the ratio of both the medians and the shortest times. Ours and StarDist's
calls alternate, so that another load on the machine meets both, with a pause before each: OpenMP's workers go on
spinning for some milliseconds after a call, and would take a core from the next. Short rows are repeated more often.
Without the stardist package only our side is measured.
"""

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

PAUSE = 0.05  # seconds before each call; OpenMP's workers are asleep by then
SHORT = 2.0  # a row is repeated until its calls have taken that many seconds together ...
MOST = 41  # ... or that often
TITLE = """| what | ours, s | StarDist, s | ratio | of minima | repeats | |
| --- | --- | --- | --- | --- | --- | --- |"""


class Row(NamedTuple):
    """One line of the table: what is computed, by us and (where it can be) by StarDist."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    note: Callable[[Any, Any], str]  # of the two results: what they agree on


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small scenes, one repeat: under a minute")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=3, help="at least; short rows have more")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # read by StarDist's OpenMP when it is loaded
    import torch

    torch.set_num_threads(arguments.threads)
    repeats = 1 if arguments.quick else arguments.repeats
    print(heading(arguments.threads, repeats))
    print(TITLE)
    for row in rows(arguments.quick):
        print(measured(row, repeats, 0.0 if arguments.quick else SHORT), flush=True)


def heading(threads: int, repeats: int) -> str:
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        cpu = models[0].split(":")[1].strip() if models else cpu
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent,
        check=False,
    ).stdout.strip()
    versions = ", ".join(f"{name} {found(name)}" for name in ("anystar_torch", "stardist", "torch", "numpy"))
    return (
        f"{time.strftime('%Y-%m-%d')}; {cpu}, {os.cpu_count()} logical cores, {threads} threads, load {load}; "
        f"Python {platform.python_version()}, {versions}; commit {commit or 'unknown'}; medians of {repeats} or more\n"
    )


def found(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def rows(quick: bool) -> Iterator[Row]:
    """All rows; scenes are made one at a time. The crowd comes first, so that the peak memory is its own."""
    yield crowd_row(50_000 if quick else 500_000)
    if found("stardist") == "not installed":
        print("| (the other scenes need the stardist package: pip install stardist) | | | | | | |")
        return
    yield from suppression_rows(64 if quick else 128)
    for size in (64,) if quick else (64, 128):
        for foreground in (0.05, 0.15, 0.30):
            yield from target_rows(size, foreground)


def measured(row: Row, repeats: int, seconds: float) -> str:
    """The row's line: at least ``repeats`` calls of each side, and more until they took ``seconds``."""
    results = [row.ours(), None]  # a first call of both is warm-up: libraries are loaded in it
    if row.theirs is not None:
        results[1] = row.theirs()
    ours, theirs = [], []
    while len(ours) < repeats or (sum(ours) + sum(theirs) < seconds and len(ours) < MOST):
        ours.append(timed(row.ours))
        if row.theirs is not None:
            theirs.append(timed(row.theirs))
    own, note = statistics.median(ours), row.note(*results)
    if not theirs:
        return f"| {row.name} | {own:.3g} | | | | {len(ours)} | {note} |"
    other = statistics.median(theirs)
    ratios = f"{times(other / own)} | {times(min(theirs) / min(ours))}"
    return f"| {row.name} | {own:.3g} | {other:.3g} | {ratios} | {len(ours)} | {note} |"


def times(ratio: float) -> str:
    return f"{ratio:.{0 if ratio >= 10 else 1}f} x"


def timed(function: Callable[[], Any]) -> float:
    time.sleep(PAUSE)
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


# ---- suppression and rendering ------------------------------------------------------------------


def crowd_row(count: int) -> Row:
    from anystar_torch.geometry import ops
    from anystar_torch.geometry.rays import Rays
    from benchmarks.scenes import crowd_of_balls

    crowd = crowd_of_balls(count, Rays.golden_spiral(96))
    side = int(crowd.points.max()) + 10

    def note(keep: Any, _: Any) -> str:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return f"{int(keep.sum())} kept; peak memory of the process, inputs included, {peak / 2**30:.1f} GiB"

    return Row(
        f"suppression, {count} candidates of a dense {side}^3", lambda: ops.nms(*crowd, 0.3), None, note
    )


def suppression_rows(size: int) -> Iterator[Row]:
    import numpy as np
    from stardist.geometry.geom3d import star_dist3D
    from stardist.rays3d import Rays_GoldenSpiral
    from stardist.utils import edt_prob

    from anystar_torch.geometry.rays import Rays
    from benchmarks.scenes import blobs, perturbed

    their_rays, rays, grid = Rays_GoldenSpiral(96), Rays.golden_spiral(96), 2
    labels = blobs(size)
    probability = edt_prob(labels)[::grid, ::grid, ::grid]
    distances = star_dist3D(labels, their_rays, grid=(grid,) * 3)
    for noise in (0.0, 0.05, 0.10):
        scene = perturbed(np.asarray(probability), distances, grid, noise, rays)
        yield suppression_row(
            f"{len(scene.points)} candidates, {size}^3 at grid 2, {noise:.0%} noise", scene, their_rays
        )
    yield rendering_row(size, scene, their_rays)


def suppression_row(name: str, scene: Any, their_rays: Any) -> Row:
    from stardist.nms import non_maximum_suppression_3d_sparse

    from anystar_torch.geometry import ops

    points, distances, scores = (part.numpy() for part in scene[:3])

    def theirs() -> Any:
        return non_maximum_suppression_3d_sparse(
            distances, scores, points, rays=their_rays, nms_thresh=0.3, verbose=False
        )[3]

    def note(keep: Any, kept: Any) -> str:
        return (
            f"{int(keep.sum())} kept, {len(set(keep.nonzero()[:, 0].tolist()) ^ set(kept.tolist()))} differ"
        )

    return Row(f"suppression, {name}", lambda: ops.nms(*scene, 0.3), theirs, note)


def rendering_row(size: int, scene: Any, their_rays: Any) -> Row:
    import torch
    from stardist.geometry.geom3d import polyhedron_to_label

    from anystar_torch.geometry import ops

    keep = ops.nms(*scene, 0.3).nonzero()[:, 0]
    keep = keep[torch.argsort(scene.scores[keep], descending=True)]
    points, distances, scores = (part[keep] for part in scene[:3])

    def theirs() -> Any:
        return polyhedron_to_label(
            distances.numpy(), points.numpy(), their_rays, (size,) * 3, prob=scores.numpy(), verbose=False
        )

    def note(labels: Any, expected: Any) -> str:
        return f"{int((labels.numpy() != expected).sum())} of {int((expected > 0).sum())} voxels differ"

    return Row(
        f"rendering, {len(keep)} polyhedra into {size}^3",
        lambda: ops.render_labels(points, distances, scene.rays, (size,) * 3),
        theirs,
        note,
    )


# ---- training targets ---------------------------------------------------------------------------


def target_rows(size: int, foreground: float) -> Iterator[Row]:
    """Star distances at grid 1 and 2, the probability and the distance transform of one label volume."""
    import numpy as np
    import torch
    from edt import edt
    from stardist.geometry.geom3d import star_dist3D
    from stardist.rays3d import Rays_GoldenSpiral
    from stardist.utils import edt_prob

    from anystar_torch.geometry import targets
    from anystar_torch.geometry.distance_transform import distance_transform
    from anystar_torch.geometry.rays import Rays
    from benchmarks.scenes import balls

    field, threads = balls(size, foreground), torch.get_num_threads()
    labels, where = (
        torch.from_numpy(field.astype(np.int32))[None, None],
        f"{size}^3, foreground {foreground:.0%}",
    )
    os.environ["STARDIST_EDT_NUM_THREADS"] = str(threads)
    rays, their_rays = Rays.golden_spiral(96), Rays_GoldenSpiral(96)

    def note(ours: Any, theirs: Any) -> str:
        expected = np.moveaxis(theirs, -1, 0) if theirs.ndim == 4 else theirs
        return f"{int((np.abs(ours[0].numpy() - expected) > 1e-5).sum())} of {expected.size} values differ"

    def star(grid: tuple[int, int, int]) -> Row:
        return Row(
            f"star distances, {where}, grid {grid[0]}",
            lambda: targets.star_distances(labels, rays, grid),
            lambda: star_dist3D(field, their_rays, grid=grid),
            note,
        )

    yield star((2, 2, 2))
    yield star((1, 1, 1))
    yield Row(
        f"probability, {where}", lambda: targets.object_probability(labels), lambda: edt_prob(field), note
    )
    yield Row(
        f"distance transform (edt {found('edt')}), {where}",
        lambda: distance_transform(labels),
        lambda: edt(field, black_border=False, parallel=threads),
        note,
    )


if __name__ == "__main__":
    main()
