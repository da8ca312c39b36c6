"""Prediction beside StarDist: one Keras file, one volume, the same candidates, thresholds and threads.

    python benchmarks/predict.py                                          suppression and rendering
    python benchmarks/predict.py --keras FOLDER --peer-python PYTHON      the network as well

StarDist runs in a process of its own: in this environment's Python, where it computes without TensorFlow, or in that
of an environment that has both (--peer-python). FOLDER is a StarDist model with config.json and weights_best.h5, which
both load. The network sees a noisy volume of 216 blobs; the candidates that follow are made from the ground truth, so
that both suppress and draw the same objects whatever the network says. The two take turns; times are medians.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

GRID, NMS_THRESH, NOISE = 2, 0.3, 0.05

PEER = """
import json, sys, time
import numpy as np
case = np.load(sys.argv[1])
threads, folder = int(sys.argv[2]), sys.argv[3]
model = None
if folder:
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from pathlib import Path
    from stardist.models import StarDist3D
    model = StarDist3D(None, name=Path(folder).name, basedir=str(Path(folder).parent))
from stardist.geometry import polyhedron_to_label
from stardist.nms import non_maximum_suppression_3d_sparse
from stardist.rays3d import Rays_GoldenSpiral
rays, shape = Rays_GoldenSpiral(case["distances"].shape[1]), case["image"].shape
print("ready", flush=True)
for number, line in enumerate(sys.stdin):
    start = time.perf_counter()
    dense = model.predict(case["image"], verbose=0) if model else None
    middle = time.perf_counter()
    points, scores, distances = non_maximum_suppression_3d_sparse(
        case["distances"], case["scores"], case["points"], rays, nms_thresh=float(case["nms_thresh"]), verbose=False
    )[:3]
    labels = polyhedron_to_label(distances, points, rays, shape, prob=scores, verbose=False)
    end = time.perf_counter()
    if number == 0 and dense is not None:
        np.savez(sys.argv[4], probability=dense[0])
    print(json.dumps([middle - start, end - middle, int(labels.max()), len(points)]), flush=True)
"""


def scene(size: int) -> dict[str, Any]:
    """Image and candidates of a lattice of blobs, 216 of them in 128^3."""
    import torch
    from scenes import blobs, perturbed

    from anystar_torch.geometry import targets
    from anystar_torch.geometry.rays import Rays

    labels, rays = blobs(size), Rays.golden_spiral(96)
    batch = torch.from_numpy(labels.astype(np.int32))[None, None]
    probability = targets.object_probability(batch, (GRID,) * 3)[0, 0].numpy()
    distances = targets.star_distances(batch, rays, (GRID,) * 3)[0].permute(1, 2, 3, 0).numpy()
    found = perturbed(probability, distances, GRID, NOISE, rays)
    noise = np.random.default_rng(0).normal(0, 0.1, labels.shape)
    return {
        "image": ((labels > 0) * 0.6 + 0.2 + noise).astype(np.float32),
        "points": found.points.numpy(), "distances": found.distances.numpy(), "scores": found.scores.numpy(),
        "nms_thresh": np.float64(NMS_THRESH), "objects": int(labels.max()),
    }  # fmt: skip


def ours(case: dict[str, Any], keras: str | None, precision: str) -> Callable[[], tuple[float, float, int]]:
    """One run of this package: seconds of the network, seconds of what follows, objects."""
    import torch

    from anystar_torch import AnyStar
    from anystar_torch.geometry import ops
    from anystar_torch.geometry.rays import Rays
    from anystar_torch.inference import tile_network as eye

    kind, rays = getattr(torch, precision), Rays.golden_spiral(case["distances"].shape[1])
    points, distances, scores = (torch.from_numpy(case[n]) for n in ("points", "distances", "scores"))
    image = torch.from_numpy(case["image"])[None, None]
    looking = eye.Eye(AnyStar.from_pretrained(keras).network, torch.device("cpu")) if keras else None

    def run() -> tuple[float, float, int]:
        eye.precision = lambda device: kind
        start = time.perf_counter()
        if looking:
            looking(image)
        middle = time.perf_counter()
        keep = ops.nms(points, distances, scores, rays, NMS_THRESH)
        best = torch.argsort(scores[keep], descending=True)
        labels = ops.render_labels(points[keep][best], distances[keep][best], rays, case["image"].shape)
        return middle - start, time.perf_counter() - middle, int(labels.max())

    return run


def compare(options: argparse.Namespace) -> None:
    from anystar_torch.system.precision import multiplies_bf16

    case = scene(options.size)
    count = len(case["scores"])
    print(
        f"{options.size}^3, {case['objects']} objects, {count} candidates, 96 rays, nms_thresh {NMS_THRESH}"
    )
    kinds = ["float32"] + ["bfloat16"] * bool(options.keras and multiplies_bf16())
    with tempfile.TemporaryDirectory() as scratch:
        path, said = Path(scratch, "case.npz"), Path(scratch, "said.npz")
        np.savez(path, **case)
        command = [options.peer_python or sys.executable, "-c", PEER, path, str(options.threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        with subprocess.Popen(
            [*command, options.keras or "", said], text=True, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        ) as peer:  # fmt: skip
            while "ready" not in (line := peer.stdout.readline()):
                if not line:
                    raise SystemExit("the peer did not start: it needs stardist, and tensorflow for --keras")
            runs = {f"anystar_torch, {kind}": ours(case, options.keras, kind) for kind in kinds}
            runs["stardist"] = lambda: asked(peer)
            times: dict[str, list[Any]] = {name: [] for name in runs}
            for repeat in range(options.repeats + 1):
                for name, run in runs.items():
                    measured = run()
                    if repeat:  # the first is warm-up
                        times[name].append(measured)
            peer.stdin.close()
        if options.keras:
            check(case, options.keras, np.load(said)["probability"])
    report(times, bool(options.keras))


def asked(peer: Any) -> tuple[float, float, int]:
    """One run of the peer."""
    peer.stdin.write("go\n")
    peer.stdin.flush()
    while not (line := peer.stdout.readline()).startswith("["):
        if not line:
            raise SystemExit("the peer ended early")
    network, after, count, _ = json.loads(line)
    return network, after, count


def check(case: dict[str, Any], keras: str, theirs: np.ndarray) -> None:
    """That both are the same network."""
    import torch

    from anystar_torch import AnyStar

    with torch.inference_mode():
        mine = AnyStar.from_pretrained(keras).network(torch.from_numpy(case["image"])[None, None])
    apart = np.abs(mine.probability[0, 0].numpy() - theirs).max()
    print(f"both networks agree: probabilities differ by {apart:.1e} at most")


def report(times: dict[str, list[Any]], network: bool) -> None:
    parts = {
        "network": lambda t: t[0],
        "suppression, rendering": lambda t: t[1],
        "all three": lambda t: t[0] + t[1],
    }
    print("\n| part | who | seconds | from, to | StarDist takes |\n| --- | --- | --- | --- | --- |")
    for part, pick in parts.items():
        if not network and part != "suppression, rendering":
            continue
        peer = statistics.median(map(pick, times["stardist"]))
        for name, values in times.items():
            seconds = sorted(map(pick, values))
            middle = statistics.median(seconds)
            ratio = "" if name == "stardist" else f"{peer / middle:.1f} x"
            print(f"| {part} | {name} | {middle:.3f} | {seconds[0]:.3f}, {seconds[-1]:.3f} | {ratio} |")
    print("\nobjects found: " + ", ".join(f"{name} {values[0][2]}" for name, values in times.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--size", type=int, default=128, choices=(64, 128), help="of the volume")
    parser.add_argument("--keras", help="StarDist model folder, for the network part")
    parser.add_argument("--peer-python", help="interpreter of an environment with TensorFlow and StarDist")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    import torch

    from anystar_torch import __version__
    from anystar_torch.system.allocator import keep_freed_memory

    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as anystar predict does
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    cpu = platform.processor() or platform.machine()
    print(f"{time.strftime('%Y-%m-%d')}; {cpu}, {options.threads} threads, load {load}")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, anystar_torch {__version__} {commit}"
    )
    compare(options)


if __name__ == "__main__":
    main()
