"""Tiles: memory, time, and whether objects are the same for all tilings.

    python -m benchmarks.tiles                                        identical objects, then 128^3, 256^3 and 512^3
    python -m benchmarks.tiles --sizes 128 --max-memory 1.5GB --no-tilings

The volume is the real one in the ``stardist`` package (or --image), continued by its mirror images. Every size is
predicted by the command line in a process of its own, whose peak memory the system reports.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from anystar_torch import AnyStar, io
from anystar_torch.evaluation.matching import ContingencyTable
from anystar_torch.inference.candidates import merge
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.resampling import ResampledVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import cut_volume, padded
from anystar_torch.network import loading
from anystar_torch.training.report import example_volume
from benchmarks.report import begin, parser

Row = dict[str, Any]
PROGRAM = """
import sys
import torch
from anystar_torch.cli import main
torch.set_num_threads(int(sys.argv[1]))
try:
    main(sys.argv[2:])
finally:
    status = open("/proc/self/status").read()  # the peak of resource.getrusage may be that of the parent process
    print("PEAK", int(status.partition("VmHWM:")[2].split()[0]) * 1024)
"""


def continued(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """The volume and its mirror images, as far as ``shape`` reaches."""
    for axis, size in enumerate(shape):
        place = np.arange(size) % (2 * image.shape[axis])
        image = image.take(np.minimum(place, 2 * image.shape[axis] - 1 - place), axis)
    return image


def compared(before: np.ndarray, after: np.ndarray) -> Row:
    """Which share of the objects of ``before`` is in ``after``, at three IoUs."""
    overlap = ContingencyTable.of(before, after)
    scores, count = overlap.scores(), len(overlap.true_labels)
    shares = {
        name: f"{100 * int((scores >= np.float32(least)).sum()) / max(count, 1):.1f} %"
        for name, least in (("the same voxels", 1.0), ("IoU 0.98", 0.98), ("IoU 0.9", 0.9))
    }
    return {"objects untiled": count, "in tiles": len(overlap.pred_labels)} | shares


def tilings(model: AnyStar, image: np.ndarray, prob_thresh: float, halo: tuple[int, int, int]) -> list[Row]:
    """The same volume untiled and in tiles of four shapes."""
    network, rays = TileNetwork(model.network, torch.device("cpu")), model.network.rays
    middle = model.config.diameter_band[1]
    scaling = Scaling.of(image.shape, (1, 1, 1), middle, middle, rays)
    volume = ResampledVolume(image, scaling, intensity_range(image, model.config.normalisation))

    def labels(size: tuple[int, int, int]) -> np.ndarray:
        pieces = cut_volume(scaling.shape, model.network.divisor, size, halo)
        parts = [network.candidates(volume, [tile], prob_thresh)[0] for tile in pieces]
        return model.instances(merge(parts, rays, scaling, middle, prob_thresh)).labels

    untiled = labels(padded(image.shape, model.network.divisor))
    rows = []
    for cut in ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1)):
        size = tuple(
            n if not c else max(n // 2 // d * d, 2 * -(-h // d) * d + 2 * d)
            for n, c, h, d in zip(image.shape, cut, halo, model.network.divisor, strict=True)
        )
        rows.append({"tiles": str(size), "halo": str(halo)} | compared(untiled, labels(size)))
    return rows


def one_size(image: np.ndarray, size: int, options: argparse.Namespace, diameter: float) -> Row:
    """The whole command on a cube, in its own process."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "volume.tif")
        io.tiff.write(
            path,
            continued(image, (size,) * 3).astype(np.uint16),
            io.SpatialImage(image, (1.0, 1.0, 1.0), "um"),
            None,
        )
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            str(options.threads),
            "predict",
            str(path),
            "--model",
            str(options.model),
            "--diameter",
            str(diameter),
            "--max-memory",
            options.max_memory,
            "--device",
            "cpu",
        ]
        if options.no_coarse_pass:
            command.append("--no-coarse-pass")
        if options.prob_thresh is not None:
            command += ["--prob-thresh", str(options.prob_thresh)]
        began = time.perf_counter()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds = time.perf_counter() - began
    line, _, peak = said.partition("PEAK")
    return {
        "size": f"{size}^3",
        "seconds": seconds,
        "us per voxel": seconds / size**3 * 1e6,
        "peak GB": int(peak) / 1e9,
        "result": line.strip().rpartition(": ")[2],
    }


def main() -> None:
    options_of = parser(__doc__)
    options_of.add_argument(
        "--model", default=loading.SHIPPED, help="model folder; default: the shipped weights"
    )
    options_of.add_argument("--image", help="a volume; the one in the stardist package if not given")
    options_of.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512])
    options_of.add_argument("--max-memory", default="6GB")
    options_of.add_argument("--prob-thresh", type=float)
    options_of.add_argument("--no-coarse-pass", action="store_true", help="the fine pass alone")
    options_of.add_argument("--no-tilings", action="store_true", help="leave out the comparison of tilings")
    options = options_of.parse_args()
    report = begin(options, weights=options.model)
    model = AnyStar.from_pretrained(options.model)
    image = io.read(options.image or example_volume()[0]).array
    if not options.no_tilings:
        thresh = model.config.prob_thresh if options.prob_thresh is None else options.prob_thresh
        measured = TileNetwork(model.network, torch.device("cpu")).halo
        rows = tilings(model, continued(image, (96, 192, 256)), thresh, measured)
        report.table("objects in tiles with the measured halo", rows)
        rows = tilings(model, continued(image, (48, 240, 240)), thresh, (96, 96, 96))
        report.table("objects in tiles with a halo of 96, which the small network's layers reach", rows)
    rows = []
    for size in options.sizes:
        rows.append(one_size(image, size, options, model.config.diameter_band[1]))
        report.table(f"anystar predict --max-memory {options.max_memory}", rows)


if __name__ == "__main__":
    main()
