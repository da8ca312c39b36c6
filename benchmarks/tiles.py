"""Tiles: how much memory, how much time, and whether objects are the same whatever the tiles.

    python benchmarks/tiles.py --model FOLDER                        identical objects, then 128^3, 256^3 and 512^3
    python benchmarks/tiles.py --model FOLDER --sizes 128 --max-memory 1.5GB

The volume is the real one in the ``stardist`` package (or --image), continued by its mirror images. Every size is
predicted by the command line in a process of its own, whose peak memory is what the system says it was.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from anystar_torch import AnyStar, __version__, io
from anystar_torch.evaluation.matching import ContingencyTable
from anystar_torch.inference import receptive_field as halo
from anystar_torch.inference.candidates import merge
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.scale import Scaling
from anystar_torch.inference.tile_network import Eye
from anystar_torch.inference.tiles import padded, tiles
from anystar_torch.system.device import precision
from anystar_torch.training.report import example_volume

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


def compared(before: np.ndarray, after: np.ndarray) -> str:
    """How many objects of ``before`` are in ``after`` voxel by voxel, how many nearly, of how many."""
    overlap = ContingencyTable.of(before, after)
    scores, count = overlap.scores(), len(overlap.true_labels)
    counts = [int((scores >= np.float32(least)).sum()) for least in (1.0, 0.98, 0.9)]
    shares = ", ".join(
        f"{100 * n / max(count, 1):.1f} % {word}"
        for n, word in zip(counts, ("voxel by voxel", "at IoU 0.98", "at IoU 0.9"), strict=True)
    )
    return f"{count} objects and {len(overlap.pred_labels)}: the same {shares}"


def tilings(model: AnyStar, image: np.ndarray, prob_thresh: float, halo: tuple[int, int, int]) -> None:
    """The same volume whole and in tiles of three shapes."""
    eye, rays = Eye(model.network, torch.device("cpu")), model.network.rays
    middle = model.config.diameter_band[1]
    scaling = Scaling.of(image.shape, (1, 1, 1), middle, middle, rays)
    grey = intensity_range(image, model.config.normalisation)

    def labels(size: tuple[int, int, int]) -> np.ndarray:
        pieces = tiles(scaling.shape, model.network.divisor, size, halo)
        parts = [eye.candidates(image, scaling, grey, [tile], prob_thresh)[0] for tile in pieces]
        return model.objects(merge(parts, rays, scaling, middle, prob_thresh), model.config.nms_thresh).labels

    whole = labels(padded(image.shape, model.network.divisor))
    for cut in ((0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 1, 1)):
        size = tuple(
            n if not c else max(n // 2 // d * d, 2 * -(-h // d) * d + 2 * d)
            for n, c, h, d in zip(image.shape, cut, halo, model.network.divisor, strict=True)
        )
        print(f"  tiles of {size}: {compared(whole, labels(size))}", flush=True)


def one_size(image: np.ndarray, size: int, options: argparse.Namespace, diameter: float) -> None:
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
            sys.executable, "-c", PROGRAM, str(options.threads), "predict", str(path), "--model", options.model,
            "--diameter", str(diameter), "--max-memory", options.max_memory, "--device", "cpu",
        ]  # fmt: skip
        if options.one_scale:
            command.append("--no-coarse-pass")
        if options.prob_thresh is not None:
            command += ["--prob-thresh", str(options.prob_thresh)]
        start = time.perf_counter()
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        seconds = time.perf_counter() - start
        line, _, peak = said.partition("PEAK")
        print(f"  {size}^3: {seconds:.1f} s, {seconds / size**3 * 1e6:.2f} us a voxel, peak {int(peak) / 1e9:.2f} GB; "
              f"{line.strip().rpartition(': ')[2]}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--image", help="a volume; the one in the stardist package if not given")
    parser.add_argument("--sizes", type=int, nargs="*", default=[128, 256, 512])
    parser.add_argument("--max-memory", default="6GB")
    parser.add_argument("--prob-thresh", type=float)
    parser.add_argument("--one-scale", action="store_true", help="without the second look from further away")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-tilings", action="store_true", help="leave out the comparison of tilings")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = AnyStar.from_pretrained(options.model)
    example = example_volume()
    image = io.read(options.image or example[0]).array
    kind = str(precision(torch.device("cpu"))).removeprefix("torch.")
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, {kind}; "
          f"torch {torch.__version__}, anystar_torch {__version__}")  # fmt: skip
    if not options.no_tilings:
        thresh = model.config.prob_thresh if options.prob_thresh is None else options.prob_thresh
        measured = halo.measure(Eye(model.network, torch.device("cpu")))
        print(f"tiles against no tiles, with the measured halo {measured}:")
        tilings(model, continued(image, (96, 192, 256)), thresh, measured)
        print("and with the halo of the layers of the small network, 96:")
        tilings(model, continued(image, (48, 240, 240)), thresh, (96, 96, 96))
    for size in options.sizes:
        one_size(image, size, options, model.config.diameter_band[1])


if __name__ == "__main__":
    main()
