"""Volumes beyond memory: time per voxel, workers, memory, overhead against memory, and suppression of many candidates.

    python -m benchmarks.large --json large.json               256^3 to 1024^3, one and two workers; takes hours
    python -m benchmarks.large --sizes 256 384 --candidates 2000000 --plot large.png

The volume is the real one in the ``stardist`` package, or --image, continued by its mirror images, as OME-Zarr.
``anystar gallery --synth zero_shot --shape 192 192 192 --ids 0:1 --save samples`` makes one from the generator. Every
size is predicted by the command line. Every process has the number of --threads. Memory is that of the largest process.
CPU seconds are those of all processes.

Every row is measured on its own and written at once. Rows that the file of --json has are not measured again, so an
interrupted run continues with the same command, and rows can be added by other --sizes, --workers, --repeats and
--candidates. All kinds of runs take turns, so that a change in the speed of the machine meets all of them.
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import psutil
import zarr

from anystar_torch import io
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network import loading
from anystar_torch.training.report import example_volume
from benchmarks.header import commit
from benchmarks.many_candidates import suppression_of
from benchmarks.report import Report, begin, parser

Row = dict[str, Any]
_CHUNK = 64
VOLUMES, SUPPRESSION = "anystar predict, block by block and in memory", "suppression block by block"


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


def watched(command: list[str]) -> tuple[Row, str]:
    """Time, memory of the largest process and output of a command and the processes that it starts."""
    began, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
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
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    work = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    measured = {
        "seconds": time.perf_counter() - began,
        "CPU seconds": work,
        "peak GB of a process": peak[0] / 1e9,
    }
    return measured, said


def one_size(path: Path, how: list[str], options: argparse.Namespace, diameter: float) -> Row:
    """The whole command on a volume."""
    target = path.with_name("labels.ome.zarr")
    program = "from anystar_torch.cli import main; main()"
    command = [
        *(sys.executable, "-c", program, "predict", str(path), "-o", str(target), "--overwrite"),
        *("--model", str(options.model), "--diameter", str(diameter), "--device", "cpu", *how),
    ]
    row, said = watched(command)
    return row | {"result": said.strip().splitlines()[-1].rpartition(": ")[2].partition(" (")[0]}


def alone(function: Callable[..., Row], *arguments: Any) -> Row:
    """What a function returns in a new process, whose memory nothing else has used."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Rows:
    """The rows of a table, some of them measured earlier.

    Args:
        report: where the table is shown and kept.
        title: of the table.
    """

    def __init__(self, report: Report, title: str) -> None:
        self.report, self.title = report, title

    @property
    def rows(self) -> list[Row]:
        """All rows."""
        return [dict(row) for row in self.report.tables.get(self.title, [])]

    def has(self, key: Row) -> bool:
        """Whether a row with these values is there."""
        return any(key.items() <= row.items() for row in self.rows)

    def add(self, key: Row, measure: Callable[[], Row]) -> None:
        """Measure a row, unless it is there, and write the table."""
        if self.has(key):
            return
        load = round(os.getloadavg()[0], 1)
        begun = {"date": time.strftime("%Y-%m-%d"), "commit": commit(), "load": load}
        row = key | measure() | begun
        self.report.table(self.title, [*self.rows, row])


def plot(rows: list[Row], path: Path) -> None:
    """Time per voxel over the size of the volume, one line per kind of run; medians of repeated runs."""
    figure, axis = plt.subplots(figsize=(6, 4.5), layout="constrained")
    for kind in dict.fromkeys((row["volume"], row["options"]) for row in rows):
        times: dict[int, list[float]] = {}
        for row in rows:
            if (row["volume"], row["options"]) == kind:
                times.setdefault(int(row["size"][:-2]), []).append(row["us per voxel"])
        sizes = sorted(times)
        axis.plot(sizes, [statistics.median(times[size]) for size in sizes], "o-", label=": ".join(kind))
    axis.set(xlabel="voxels along each axis", ylabel="microseconds per voxel", ylim=(0, None))
    figure.legend(frameon=False, loc="outside lower center")
    figure.savefig(path, dpi=120)


def volumes(rows: Rows, options: argparse.Namespace) -> None:
    """Measure the command on volumes of all sizes."""
    diameter = AnyStar.from_pretrained(options.model).config.diameter_band[1]
    source = Path(options.image or example_volume()[0])
    image = io.read(source).array
    for size in options.sizes:
        kinds = [["--workers", str(n), "--max-memory", options.max_memory] for n in options.workers]
        kinds += [[]] if size in options.in_memory else []
        for how in kinds:
            how += ["--threads", str(options.threads)]
        keys = {" ".join(how if "--workers" in how else ["in memory", *how]): how for how in kinds}
        turns = [
            ({"size": f"{size}^3", "volume": source.name, "options": name, "repeat": repeat}, how)
            for repeat in range(1, options.repeats + 1)
            for name, how in keys.items()
        ]
        missing = [(key, how) for key, how in turns if not rows.has(key)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "volume.ome.zarr")
            write_volume(path, image, size)
            for key, how in missing:

                def measure(how: list[str] = how, path: Path = path, size: int = size) -> Row:
                    row = one_size(path, how, options, diameter)
                    return row | {"us per voxel": row["seconds"] / size**3 * 1e6}

                rows.add(key, measure)


def main() -> None:
    """Measure the rows that are missing."""
    options_of = parser(__doc__)
    options_of.add_argument("--model", default=loading.SHIPPED, help="model folder")
    options_of.add_argument("--image", help="a volume; the one in the stardist package if not given")
    options_of.add_argument("--sizes", type=int, nargs="*", default=[256, 512, 768, 1024])
    options_of.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    options_of.add_argument(
        "--in-memory", type=int, nargs="*", default=[256, 512], help="sizes that are compared"
    )
    options_of.add_argument("--repeats", type=int, default=1, help="runs of each kind")
    options_of.add_argument("--max-memory", default="4GB", help="of each worker")
    options_of.add_argument("--candidates", type=int, nargs="*", default=[2_000_000, 20_000_000])
    options_of.add_argument("--plot", type=Path, help="picture of the times")
    options = options_of.parse_args()
    report = begin(options, weights=options.model, packages=("distributed", "zarr"))
    report.resume()
    volumes(Rows(report, VOLUMES), options)
    if options.plot is not None and (rows := Rows(report, VOLUMES).rows):
        plot(rows, options.plot)
    made = Rows(report, SUPPRESSION)
    for count in options.candidates:
        made.add({"asked": count}, lambda count=count: alone(suppression_of, count, options.threads))


if __name__ == "__main__":
    main()
