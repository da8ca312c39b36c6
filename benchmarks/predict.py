"""Prediction beside StarDist: one Keras file, one volume, the same candidates, thresholds and threads.

    python -m benchmarks.predict                                          suppression and rendering
    python -m benchmarks.predict --keras FOLDER --peer-python PYTHON      the network as well

StarDist runs in a process of its own: in this environment's Python, where it computes without TensorFlow, or in that
of an environment that has both (--peer-python). FOLDER is a StarDist model with config.json and weights_best.h5, which
both load. The network sees a noisy volume of blobs. The candidates that follow are made from the ground truth, so that
both suppress and draw the same objects for any output of the network. The two take turns; times are medians.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anystar_torch import AnyStar
from anystar_torch.geometry import ops, targets
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.system.precision import multiplies_bf16
from benchmarks.peers import Peer
from benchmarks.report import Report, begin, parser
from benchmarks.scenes import blobs, perturbed
from benchmarks.timing import Timing

GRID, RAYS, NMS_THRESH, NOISE = 2, 96, 0.3, 0.05
Run = Callable[[], dict[str, float]]
PARTS: dict[str, Callable[[dict[str, float]], float]] = {
    "network": lambda run: run["network"],
    "suppression, rendering": lambda run: run["rest"],
    "all three": lambda run: run["network"] + run["rest"],
}


def scene(size: int) -> dict[str, Any]:
    """Image and candidates of a lattice of blobs, 216 of them in 128^3."""
    labels, rays = blobs(size), Rays.golden_spiral(RAYS)
    batch = torch.from_numpy(labels.astype(np.int32))[None, None]
    probability = targets.object_probability(batch, (GRID,) * 3)[0, 0].numpy()
    distances = targets.star_distances(batch, rays, (GRID,) * 3)[0].permute(1, 2, 3, 0).numpy()
    found = perturbed(probability, distances, GRID, NOISE, rays)
    noise = np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return {
        "image": ((labels > 0) * 0.6 + 0.2 + noise).astype(np.float32),
        "points": found.points.numpy(),
        "distances": found.distances.numpy(),
        "scores": found.scores.numpy(),
        "nms_thresh": np.float64(NMS_THRESH),
        "objects": int(labels.max()),
    }


def ours(case: dict[str, Any], keras: str | None, precision: torch.dtype) -> Run:
    """One run of this package: seconds of the network, seconds of what follows, objects."""
    rays = Rays.golden_spiral(RAYS)
    points, distances, scores = (torch.from_numpy(case[name]) for name in ("points", "distances", "scores"))
    image = torch.from_numpy(case["image"])[None, None]
    network = TileNetwork(AnyStar.from_pretrained(keras).network, torch.device("cpu")) if keras else None

    def run() -> dict[str, float]:
        began = time.perf_counter()
        if network is not None:
            network.forward(image, precision)
        middle = time.perf_counter()
        keep = ops.nms(points, distances, scores, rays, NMS_THRESH)
        best = torch.argsort(scores[keep], descending=True)
        labels = ops.render_labels(points[keep][best], distances[keep][best], rays, case["image"].shape)
        rest = time.perf_counter() - middle
        return {"network": middle - began, "rest": rest, "objects": int(labels.max())}

    return run


def compare(options: argparse.Namespace, report: Report) -> None:
    """Let both sides take turns, and report the medians."""
    case = scene(options.size)
    precisions = [torch.float32] + [torch.bfloat16] * bool(options.keras and multiplies_bf16())
    with tempfile.TemporaryDirectory() as scratch:
        path, said = Path(scratch, "case.npz"), Path(scratch, "said.npz")
        np.savez(path, **case)
        settings = {"case": str(path), "said": str(said), "keras": options.keras, "threads": options.threads}
        with Peer("stardist_predict", settings, python=options.peer_python, threads=options.threads) as peer:
            peer.ask(True)
            runs = {
                f"anystar_torch, {str(p).removeprefix('torch.')}": ours(case, options.keras, p)
                for p in precisions
            }
            runs["StarDist"] = peer.ask
            times: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
            for repeat in range(options.repeats + 1):
                for name, run in runs.items():
                    measured = run()
                    if repeat:  # the first is a warm-up
                        times[name].append(measured)
        if options.keras:
            report.table(
                "agreement of the networks", [agreement(case, options.keras, np.load(said)["probability"])]
            )
    title = f"{options.size}^3, {case['objects']} objects, {len(case['scores'])} candidates, {RAYS} rays"
    report.table(f"{title}, nms_thresh {NMS_THRESH}", rows(times, bool(options.keras)))


def agreement(case: dict[str, Any], keras: str, theirs: np.ndarray) -> dict[str, Any]:
    """The largest difference of both networks' probabilities."""
    with torch.inference_mode():
        mine = AnyStar.from_pretrained(keras).network(torch.from_numpy(case["image"])[None, None])
    return {
        "output": "probability",
        "largest difference": float(np.abs(mine.probability[0, 0].numpy() - theirs).max()),
    }


def rows(times: dict[str, list[dict[str, float]]], network: bool) -> list[dict[str, Any]]:
    """Part and side -> seconds, and how many times longer StarDist takes."""
    table = []
    for part, pick in PARTS.items():
        if not network and part != "suppression, rendering":
            continue
        peer = Timing.of([pick(run) for run in times["StarDist"]])
        for side, runs in times.items():
            taken = Timing.of([pick(run) for run in runs])
            ratio = "" if side == "StarDist" else f"{peer.median / taken.median:.1f} x"
            table.append(
                {
                    "part": part,
                    "side": side,
                    "seconds": str(taken),
                    "StarDist takes": ratio,
                    "objects": runs[0]["objects"],
                }
            )
    return table


def main() -> None:
    options_of = parser(__doc__, repeats=5)
    options_of.add_argument("--size", type=int, default=128, choices=(64, 128), help="of the volume")
    options_of.add_argument("--keras", help="StarDist model folder, for the network part")
    options_of.add_argument(
        "--peer-python", help="interpreter of an environment with TensorFlow and StarDist"
    )
    options = options_of.parse_args()
    compare(options, begin(options, weights=options.keras, packages=("stardist",)))


if __name__ == "__main__":
    main()
