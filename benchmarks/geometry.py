"""Suppression and rendering (and training targets) beside StarDist's, in one run, on the same number of threads.

    python -m benchmarks.geometry [--quick] [--threads 2] [--repeats 3]

The table has medians in seconds, and the ratio of both the medians and the shortest times. Calls of both sides
alternate, so that another load on the machine meets both. Short rows are repeated more often. Without the stardist
package only this package is measured.
"""

import os
import resource
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from anystar_torch.geometry import ops, targets
from anystar_torch.geometry.distance_transform import distance_transform
from anystar_torch.geometry.rays import Rays
from benchmarks.header import version_of
from benchmarks.report import begin, parser
from benchmarks.scenes import balls, blobs, crowd_of_balls, perturbed
from benchmarks.timing import in_turn

SHORT = 2.0  # seconds that the calls of a row take together, at least
OURS, THEIRS = "anystar_torch", "StarDist"


class Row(NamedTuple):
    """One line of the table: what is computed, by this package and (where it can be) by StarDist.

    Attributes:
        name: what is computed.
        ours: one call of this package.
        theirs: one call of StarDist, or None.
        note: what both results agree on.
    """

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any] | None
    note: Callable[[Any, Any], str]


def rows(quick: bool) -> Iterator[Row]:
    """All rows; scenes are made one at a time. The crowd comes first, so that the peak memory is its own."""
    yield crowd_row(50_000 if quick else 500_000)
    if version_of("stardist") == "not installed":
        return
    yield from suppression_rows(64 if quick else 128)
    for size in (64,) if quick else (64, 128):
        for foreground in (0.05, 0.15, 0.30):
            yield from target_rows(size, foreground)


def measured(row: Row, repeats: int, seconds: float) -> dict[str, Any]:
    """The figures of a row: at least ``repeats`` calls of each side, and more until they took ``seconds``."""
    note = row.note(row.ours(), None if row.theirs is None else row.theirs())
    sides = {OURS: row.ours} | ({} if row.theirs is None else {THEIRS: row.theirs})
    taken = in_turn(sides, repeats=repeats, seconds=seconds)
    line: dict[str, Any] = {"what": row.name, f"{OURS}, s": taken[OURS].median}
    line |= dict.fromkeys((f"{THEIRS}, s", "ratio", "of minima"))
    if THEIRS in taken:
        line[f"{THEIRS}, s"] = taken[THEIRS].median
        line["ratio"] = times(taken[THEIRS].median / taken[OURS].median)
        line["of minima"] = times(taken[THEIRS].least / taken[OURS].least)
    return line | {"repeats": taken[OURS].repeats, "agreement": note}


def times(ratio: float) -> str:
    """A ratio for the table."""
    return f"{ratio:.{0 if ratio >= 10 else 1}f} x"


# ---- suppression and rendering ------------------------------------------------------------------


def crowd_row(count: int) -> Row:

    crowd = crowd_of_balls(count, Rays.golden_spiral(96))
    side = int(crowd.points.max()) + 10

    def note(keep: Any, _: Any) -> str:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return f"{int(keep.sum())} kept; peak memory of the process, inputs included, {peak / 2**30:.1f} GiB"

    return Row(
        f"suppression, {count} candidates of a dense {side}^3", lambda: ops.nms(*crowd, 0.3), None, note
    )


def suppression_rows(size: int) -> Iterator[Row]:
    from stardist.geometry.geom3d import star_dist3D
    from stardist.rays3d import Rays_GoldenSpiral
    from stardist.utils import edt_prob

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
    from stardist.geometry.geom3d import polyhedron_to_label

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
    from edt import edt
    from stardist.geometry.geom3d import star_dist3D
    from stardist.rays3d import Rays_GoldenSpiral
    from stardist.utils import edt_prob

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
        f"distance transform (edt {version_of('edt')}), {where}",
        lambda: distance_transform(labels),
        lambda: edt(field, black_border=False, parallel=threads),
        note,
    )


def main() -> None:
    options_of = parser(__doc__, repeats=3)
    options_of.add_argument("--quick", action="store_true", help="small scenes, one repeat: under a minute")
    options = options_of.parse_args()
    report = begin(options, packages=("stardist", "numpy"))
    repeats, seconds = (1, 0.0) if options.quick else (options.repeats, SHORT)
    lines = []
    for row in rows(options.quick):
        lines.append(measured(row, repeats, seconds))
        print(lines[-1], flush=True)
    report.table(f"medians of {repeats} or more, {options.threads} threads", lines)


if __name__ == "__main__":
    main()
