"""Prediction against StarDist: same candidates, same thresholds, same threads, one after the other.

    python benchmarks/predict.py                              suppression and rendering
    python benchmarks/predict.py --keras FOLDER --peer-python PYTHON     the network as well

The first part uses the ``stardist`` package of this environment, which computes without TensorFlow. The second needs
an environment with TensorFlow and StarDist (``--peer-python``: its interpreter) and a StarDist model folder, which both
load. Times are medians; the two take turns, so that a busy machine hurts both alike.
"""

import argparse
import json
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from anystar_torch import __version__, ops, targets
from anystar_torch.rays import Rays

PEER = """
import json, sys, time
import numpy as np
import tensorflow as tf
threads, folder, image, repeats = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
tf.config.threading.set_intra_op_parallelism_threads(threads)
tf.config.threading.set_inter_op_parallelism_threads(1)
from pathlib import Path
from stardist.models import StarDist3D
model = StarDist3D(None, name=Path(folder).name, basedir=str(Path(folder).parent))
volume = np.load(image)
model.predict(volume)
times = []
for _ in range(repeats):
    start = time.perf_counter()
    model.predict(volume)
    times.append(time.perf_counter() - start)
print("TIMES", json.dumps(times))
"""


def objects(size: int, rays: Rays) -> tuple[np.ndarray, ...]:
    """Candidates of a lattice of 6 x 6 x 6 balls in ``size``^3 voxels, made from their ground truth on grid 2."""
    step = size / 6
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    nearest = np.clip((place // step).astype(int), 0, 5)
    away = place - (
        (nearest + 0.5) * step + rng.uniform(-1, 1, (6, 6, 6, 3))[tuple(nearest.transpose(3, 0, 1, 2))]
    )
    inside = (away**2).sum(-1) < (0.42 * step) ** 2
    labels = np.where(inside, 1 + nearest @ [36, 6, 1], 0).astype(np.int32)
    batch = torch.from_numpy(labels)[None, None]
    probability = targets.object_probability(batch, (2, 2, 2))[0, 0].numpy()
    distances = targets.star_distances(batch, rays, (2, 2, 2))[0].numpy()
    where = np.argwhere(probability > 0.5)
    found = distances[(slice(None), *where.T)].T * rng.normal(1, 0.05, (len(where), len(rays)))
    return (where * 2).astype(np.float32), found.astype(np.float32), probability[tuple(where.T)]


def post_processing(repeats: int, threads: int) -> None:
    from stardist.geometry import polyhedron_to_label
    from stardist.nms import non_maximum_suppression_3d_sparse
    from stardist.rays3d import Rays_GoldenSpiral

    rays, theirs = Rays.golden_spiral(96), Rays_GoldenSpiral(96)
    points, distances, scores = objects(128, rays)
    tensors = [torch.from_numpy(a) for a in (points, distances, scores)]
    print(f"128^3, {len(points)} candidates, nms_thresh 0.3, {threads} threads")

    def ours() -> np.ndarray:
        keep = ops.nms(*tensors, rays, 0.3)
        order = torch.argsort(tensors[2][keep], descending=True)
        return ops.render_labels(tensors[0][keep][order], tensors[1][keep][order], rays, (128,) * 3).numpy()

    def peer() -> np.ndarray:
        kept = non_maximum_suppression_3d_sparse(
            distances, scores, points, theirs, nms_thresh=0.3, verbose=False
        )
        p, s, d = kept[:3]
        return polyhedron_to_label(d, p, theirs, (128,) * 3, prob=s, verbose=False)

    times: dict[str, list[float]] = {"anystar_torch": [], "stardist": []}
    counts = {}
    for _ in range(repeats):
        for name, run in (("anystar_torch", ours), ("stardist", peer)):
            start = time.perf_counter()
            counts[name] = int(np.unique(run()).size - 1)
            times[name].append(time.perf_counter() - start)
    _report("suppression and rendering", times, counts)


def network(folder: str, peer_python: str, repeats: int, threads: int) -> None:
    from anystar_torch import AnyStar

    model = AnyStar.from_pretrained(folder)
    volume = np.random.default_rng(0).random((128, 128, 128), np.float32)
    image = torch.from_numpy(volume)[None, None]
    with torch.inference_mode():
        model.network(image)
        times: dict[str, list[float]] = {"anystar_torch": [], "stardist": []}
        for _ in range(repeats):
            start = time.perf_counter()
            model.network(image)
            times["anystar_torch"].append(time.perf_counter() - start)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "volume.npy")
        np.save(path, volume)
        command = [peer_python, "-c", PEER, str(threads), folder, str(path), str(repeats)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    times["stardist"] = json.loads(said.partition("TIMES")[2])
    _report("network, 128^3", times, {})


def _report(title: str, times: dict[str, list[float]], counts: dict[str, int]) -> None:
    for name, seconds in times.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        found = f", {counts[name]} objects" if name in counts else ""
        print(f"  {title:28s} {name:14s} {middle:8.3f} s ({low:.3f} to {high:.3f}){found}")
    ratio = statistics.median(times["stardist"]) / statistics.median(times["anystar_torch"])
    print(f"  {title:28s} ratio          {ratio:8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--keras", help="StarDist model folder, for the network part")
    parser.add_argument("--peer-python", help="interpreter of an environment with TensorFlow and StarDist")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    ).stdout.strip()
    print(
        f"{platform.processor() or platform.machine()}, {platform.platform()}, Python {platform.python_version()}"
    )
    print(f"torch {torch.__version__}, anystar_torch {__version__} {commit}")
    post_processing(options.repeats, options.threads)
    if options.keras and options.peer_python:
        network(options.keras, options.peer_python, options.repeats, options.threads)


if __name__ == "__main__":
    main()
