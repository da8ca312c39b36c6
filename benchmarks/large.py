"""Volumes beyond memory: time per voxel, workers, memory, overhead against memory, and suppression of many candidates.

    python -m benchmarks.large                                 256^3 to 1024^3, one and two workers; takes hours
    python -m benchmarks.large --sizes 256 384 --candidates 2000000 --plot large.png

The volume is the real one in the ``stardist`` package (or --image), continued by its mirror images, as OME-Zarr. Every
size is predicted by the command line. Memory is that of the largest worker process.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import psutil
import torch
import zarr

from anystar_torch import io
from anystar_torch.distributed import suppression
from anystar_torch.distributed.blocks import Boxes
from anystar_torch.distributed.job import Job, Machine, Options, Prepared, provide
from anystar_torch.distributed.passes import bounds
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.distributed.work_folder import Item, WorkFolder
from anystar_torch.inference.plan import Layout
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import loading
from anystar_torch.training.report import example_volume
from benchmarks.report import begin, parser

Row = dict[str, Any]
_CHUNK = 64
_BLOCK, _DISTANCE, _PER_OBJECT = 256, 14, 50  # of the candidates that are made: voxels, voxels, candidates


def mirrored(size: int, length: int) -> np.ndarray:
    """Indices of a volume of ``length`` voxels that is continued by its mirror images."""
    place = np.arange(size) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def write_volume(path: Path, image: np.ndarray, size: int) -> None:
    """A cube of the image and its mirror images, chunk by chunk."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    array = group.create_array("0", shape=(size,) * 3, chunks=(_CHUNK,) * 3, dtype=image.dtype)
    places = [mirrored(size, length) for length in image.shape]
    for first in range(0, size, _CHUNK):
        slab = places[0][first : first + _CHUNK]
        array[first : first + len(slab)] = image[np.ix_(slab, *places[1:])]
    axes = [{"name": axis, "type": "space"} for axis in "zyx"]
    level = {"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [level]}]}


def watched(command: list[str]) -> tuple[float, float, str]:
    """Seconds, bytes of the largest process and output of a command and the processes that it starts."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    peak, ended = [0], threading.Event()

    def watch() -> None:
        root = psutil.Process(process.pid)
        while not ended.wait(0.2):
            try:
                for one in (root, *root.children(recursive=True)):
                    peak[0] = max(peak[0], one.memory_info().rss)
            except psutil.Error:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    said = process.communicate()[0]
    ended.set()
    thread.join()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    return time.perf_counter() - began, float(peak[0]), said


def one_size(path: Path, size: int, how: list[str], options: argparse.Namespace, diameter: float) -> Row:
    """The whole command on a cube."""
    target = path.with_name("labels.ome.zarr")
    program = "from anystar_torch.cli import main; main()"
    command = [
        *(sys.executable, "-c", program, "predict", str(path), "-o", str(target), "--overwrite"),
        *("--model", str(options.model), "--diameter", str(diameter), "--device", "cpu", *how),
    ]
    seconds, peak, said = watched(command)
    return {
        "size": f"{size}^3",
        "options": " ".join(how),
        "seconds": seconds,
        "us per voxel": seconds / size**3 * 1e6,
        "peak GB of a process": peak / 1e9,
        "result": said.strip().splitlines()[-1].rpartition(": ")[2].partition(" (")[0],
    }


def made_candidates(work: WorkFolder, boxes: Boxes, name: str, rays: int) -> Item:
    """Candidates of a block: objects at regular places, each with many candidates around its centre."""
    random = np.random.default_rng(abs(hash(name)) % 2**32)
    low, high = (np.array(corner) for corner in boxes.box(name))
    # Places do not begin anew in each block, so that objects lie across the borders of blocks.
    axes = [
        np.arange((a - 3) // _DISTANCE * _DISTANCE, b + 4, _DISTANCE) for a, b in zip(low, high, strict=True)
    ]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).repeat(_PER_OBJECT, 0)
    points = centres + random.integers(-3, 4, centres.shape)
    inside = ((points >= low) & (points < high)).all(axis=1)
    points = np.unique(points[inside], axis=0).astype(np.float32)
    scores = random.random(len(points), np.float32)
    distances = (6.5 * random.uniform(0.8, 1.2, (len(points), rays))).astype(np.float16)
    order = np.argsort(-scores, kind="stable")
    reach = distances[order].max(1).astype(np.float32)
    arrays = {"points": points[order], "distances": distances[order], "scores": scores[order], "reach": reach}
    return work.write("candidates", name, arrays, {"count": len(points), "box": bounds(points, reach)})


def suppression_of(count: int) -> Row:
    """Suppression of made candidates, block by block in this process."""
    network = AnyStar.from_pretrained()
    per_block = (_BLOCK // _DISTANCE) ** 3 * _PER_OBJECT * 0.93  # candidates at the same place are one
    blocks = max(1, round(count / per_block))
    side = next(n for n in itertools.count(1) if n**3 >= blocks)
    shape = (side * _BLOCK, side * _BLOCK, -(-blocks // side**2) * _BLOCK)
    layout = Layout((_BLOCK, _BLOCK, _BLOCK), (0, 0, 0), 1)
    with tempfile.TemporaryDirectory() as folder, Bars(False) as bars:
        options = Options(
            spacing=(1, 1, 1), diameter=13.6, intensity_range=None, prob_thresh=0, nms_thresh=0.3, tta=False,
            coarse_pass=False, shape_averaging=True,
        )  # fmt: skip
        job = Job(
            work=WorkFolder(Path(folder)), source=np.broadcast_to(np.uint8(0), shape), mask=None, options=options,
            machine=Machine(device="cpu"), model=Path("shipped"), normalisation="minmax",
            prepared=Prepared(low=0, high=1, clip=False, diameter=13.6, fine=layout, coarse=None),
        )  # fmt: skip
        provide(job, network.tile_network("cpu"), network.config)
        boxes = Boxes(shape, (_BLOCK,) * 3)
        made = {name: made_candidates(job.work, boxes, name, len(job.rays)) for name in boxes.names()}
        before, began = psutil.Process().memory_info().rss, time.perf_counter()
        peak, ended = [before], threading.Event()

        def watch() -> None:
            while not ended.wait(0.05):
                peak[0] = max(peak[0], psutil.Process().memory_info().rss)

        thread = threading.Thread(target=watch)
        thread.start()
        states = suppression.survivors(job, Run(ThisProcess(), bars), made)
        ended.set()
        thread.join()
        return {
            "candidates": sum(item.facts["count"] for item in made.values()),
            "blocks": len(made),
            "rounds": len({item.stage for item in states.values()}),
            "seconds": time.perf_counter() - began,
            "survivors": sum(item.facts["kept"] for item in states.values()),
            "GB before": before / 1e9,
            "peak GB": peak[0] / 1e9,
        }


def plot(rows: list[Row], path: Path) -> None:
    """Time per voxel over the size of the volume, one line per kind of run."""
    figure, axis = plt.subplots(figsize=(5, 3.5), layout="constrained")
    for how in dict.fromkeys(row["options"] for row in rows):
        mine = [row for row in rows if row["options"] == how]
        axis.plot(
            [int(row["size"][:-2]) for row in mine], [row["us per voxel"] for row in mine], "o-", label=how
        )
    axis.set(xlabel="voxels along each axis", ylabel="microseconds per voxel", ylim=(0, None))
    axis.legend(frameon=False)
    figure.savefig(path, dpi=120)


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument("--model", default=loading.SHIPPED, help="model folder")
    options_of.add_argument("--image", help="a volume; the one in the stardist package if not given")
    options_of.add_argument("--sizes", type=int, nargs="*", default=[256, 512, 768, 1024])
    options_of.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options_of.add_argument(
        "--in-memory", type=int, nargs="*", default=[256, 512], help="sizes that are compared"
    )
    options_of.add_argument("--max-memory", default="4GB", help="of each worker")
    options_of.add_argument("--candidates", type=int, nargs="*", default=[2_000_000, 20_000_000])
    options_of.add_argument("--plot", type=Path, help="picture of the times")
    options = options_of.parse_args()
    report = begin(options, weights=options.model, packages=("distributed", "zarr"))
    torch.set_num_threads(options.threads)
    model = AnyStar.from_pretrained(options.model)
    image = io.read(options.image or example_volume()[0]).array
    rows: list[Row] = []
    for size in options.sizes:
        kinds = [["--workers", str(n), "--max-memory", options.max_memory] for n in options.workers]
        kinds += [["--max-memory", "64GB"]] if size in options.in_memory else []
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "volume.ome.zarr")
            write_volume(path, image, size)
            for how in kinds:
                rows.append(one_size(path, size, how, options, model.config.diameter_band[1]))
                report.table("anystar predict, block by block and in memory", rows)
    if options.plot is not None and rows:
        plot(rows, options.plot)
    made = []
    for count in options.candidates:
        made.append(suppression_of(count))
        report.table("suppression block by block", made)


if __name__ == "__main__":
    main()
