"""Suppression of made candidates, block by block in one process: its time and memory."""

import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from anystar_torch.distributed import suppression
from anystar_torch.distributed.blocks import Boxes
from anystar_torch.distributed.job import Job, Machine, Options, Prepared
from anystar_torch.distributed.networks import provide
from anystar_torch.distributed.passes import bounds
from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.run import Run, ThisProcess
from anystar_torch.distributed.work_folder import Item, WorkFolder
from anystar_torch.inference.plan import Layout
from anystar_torch.inference.predictor import AnyStar

_BLOCK = 256  # voxels along each axis
_OBJECTS, _PER_OBJECT = (
    18,
    50,
)  # objects along each axis of a block, and candidates of each, of which some coincide
_RADIUS, _SPREAD = 6.5, 3  # mean distance to the surface, and candidates around a centre, in voxels
_SAMPLE = 0.05  # seconds between two readings of the memory


class Peak:
    """The largest memory of this process while the context lasts."""

    def __enter__(self) -> "Peak":
        self.before = self.bytes = psutil.Process().memory_info().rss
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._ended.wait(_SAMPLE):
            self.bytes = max(self.bytes, process.memory_info().rss)


def made_candidates(work: WorkFolder, boxes: Boxes, name: str, rays: int) -> Item:
    """Candidates of a block: objects at regular places, each with many candidates around its centre.

    The places are those of the whole volume. Objects lie in the borders of blocks, which share their candidates.
    """
    random = np.random.default_rng(zlib.crc32(name.encode()))
    low, high = (np.array(corner) for corner in boxes.box(name))
    step = _BLOCK / _OBJECTS
    axes = [
        np.round(np.arange(a / step, b / step + 0.5).round() * step).astype(int)
        for a, b in zip(low, high, strict=True)
    ]
    centres = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).repeat(_PER_OBJECT, 0)
    points = centres + random.integers(-_SPREAD, _SPREAD + 1, centres.shape)
    inside = ((points >= low) & (points < high)).all(axis=1)
    points = np.unique(points[inside], axis=0).astype(np.float32)
    scores = random.random(len(points), np.float32)
    distances = (_RADIUS * random.uniform(0.8, 1.2, (len(points), rays))).astype(np.float16)
    order = np.argsort(-scores, kind="stable")
    reach = distances[order].max(1).astype(np.float32)
    arrays = {"points": points[order], "distances": distances[order], "scores": scores[order], "reach": reach}
    return work.write("candidates", name, arrays, {"count": len(points), "box": bounds(points, reach)})


def _job(folder: Path, shape: tuple[int, int, int]) -> Job:
    """The prediction of an empty volume with the shipped network."""
    network = AnyStar.from_pretrained()
    options = Options(
        spacing=(1, 1, 1), diameter=13.6, intensity_range=None, prob_thresh=0, nms_thresh=0.3, tta=False,
        coarse_pass=False, shape_averaging=True,
    )  # fmt: skip
    layout = Layout((_BLOCK, _BLOCK, _BLOCK), (0, 0, 0), 1)
    job = Job(
        work=WorkFolder(folder), source=np.broadcast_to(np.uint8(0), shape), mask=None, options=options,
        machine=Machine(device="cpu"), model=Path("shipped"), identity="shipped",
        normalisation="minmax",
        prepared=Prepared(low=0, high=1, clip=False, diameter=13.6, fine=layout, coarse=None),
    )  # fmt: skip
    provide(job, network.tile_network("cpu"), network.config)
    return job


def suppression_of(count: int, threads: int) -> dict[str, Any]:
    """Make candidates, suppress them block by block in this process, and measure the suppression.

    Args:
        count: number of candidates, about.
        threads: of the suppression.
    """
    torch.set_num_threads(threads)
    blocks = max(1, round(count / (_OBJECTS**3 * _PER_OBJECT * 0.93)))  # candidates at the same place are one
    depth = max(1, round(blocks ** (1 / 3)))
    height = max(1, round((blocks / depth) ** 0.5))
    shape = (depth * _BLOCK, height * _BLOCK, -(-blocks // (depth * height)) * _BLOCK)
    with tempfile.TemporaryDirectory() as folder, Bars(False) as bars:
        job, boxes = _job(Path(folder), shape), Boxes(shape, (_BLOCK,) * 3)
        made = {name: made_candidates(job.work, boxes, name, len(job.rays)) for name in boxes.names()}
        began, work = time.perf_counter(), time.process_time()
        with Peak() as peak:
            states = suppression.survivors(job, Run(ThisProcess(), bars), made)
        return {
            "candidates": sum(item.facts["count"] for item in made.values()),
            "blocks": len(made),
            "rounds": max(int(item.stage.rpartition(".")[2]) for item in states.values()),
            "seconds": time.perf_counter() - began,
            "CPU seconds": time.process_time() - work,
            "survivors": sum(item.facts["kept"] for item in states.values()),
            "GB before": peak.before / 1e9,
            "peak GB": peak.bytes / 1e9,
        }
