"""The size estimate: its error, what it costs, and F1 with it, beside a prediction that is given the size.

    python -m benchmarks.real_volumes estimates [--model FOLDER] [--repeats 3] [--json FILE]

Every volume is predicted with the listed diameter and without one, in turn. Seconds are CPU seconds of the process, the
smallest of the repeats; with ``--threads 1`` they hardly depend on what else runs. ``voxels`` are those that the
network processes, in millions. F1 is that at IoU 0.5.

``--cubes`` estimates the size in the middle of every volume instead, as in the parts of a volume beyond memory.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from anystar_torch import AnyStar
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import intensity_range
from anystar_torch.inference.stages import object_size
from anystar_torch.network import loading
from anystar_torch.training.thresholds import scores_of
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.volumes import Volume
from benchmarks.report import begin
from benchmarks.report import parser as common
from benchmarks.tile_voxels import counted_voxels

Run = tuple[float, float, Any]
"""CPU seconds, voxels in millions, and the objects."""


def run_of(model: AnyStar, volume: Volume, diameter: float | None) -> Run:
    """One prediction of a volume."""
    with counted_voxels() as voxels:
        began = time.process_time()
        found = model.predict(volume.image, spacing=volume.spacing, diameter=diameter, progress=False)
        seconds = time.process_time() - began
    return seconds, sum(voxels) / 1e6, found


def row(model: AnyStar, volume: Volume, repeats: int) -> dict[str, Any]:
    """Estimate, cost and F1 of a volume."""
    runs: dict[str, list[Run]] = {"given": [], "estimated": []}
    for _ in range(repeats):
        runs["given"].append(run_of(model, volume, volume.diameter))
        runs["estimated"].append(run_of(model, volume, None))
    with_size, without = (min(some, key=lambda one: one[0]) for some in runs.values())
    diameter = without[2].diameter
    f1 = [round(float(scores_of(volume.truth, one[2].labels)[0.5].f1), 4) for one in (with_size, without)]
    return {
        "name": volume.name,
        "listed": volume.diameter,
        "estimated": round(diameter, 1),
        "over listed": round(diameter / volume.diameter, 2),
        "seconds, given": round(with_size[0], 2),
        "seconds, estimated": round(without[0], 2),
        "ratio": round(without[0] / with_size[0], 2),
        "voxels, given": round(with_size[1], 2),
        "voxels, estimated": round(without[1], 2),
        "F1, given": f1[0],
        "F1, estimated": f1[1],
        "scales": None if without[2].estimate is None else without[2].estimate.scales,
    }


def cube_row(model: AnyStar, volume: Volume, diameters: float) -> dict[str, Any]:
    """Estimates for a cube of so many diameters: as a part of the volume, and as if the image ended at its faces."""
    settings = model.settings("cpu", progress=False)
    whole = InputVolume(
        volume.image, volume.spacing, intensity_range(volume.image, model.config.normalisation)
    )
    part = whole.part(volume.middle(diameters))
    found = {"part": part, "volume": replace(part, beyond=whole.beyond)}
    estimated = {
        f"as a {name}, over listed": round(object_size(one, None, settings).diameter / volume.diameter, 2)
        for name, one in found.items()
    }
    return {"name": volume.name, "diameters": diameters, "listed": volume.diameter, **estimated}


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__, repeats=3)
    made.add_argument("--model", help="model or run folder; default: the shipped weights")
    made.add_argument("--data", type=Path, default=real.DATA)
    made.add_argument("--resampled", type=float, nargs="+", default=[1.0], help="factors of the resolution")
    made.add_argument(
        "--slabs",
        type=float,
        nargs="+",
        help="thickness of stacks of the middle slices, in diameters of the objects",
    )
    made.add_argument("--cubes", type=float, nargs="+", help="sides of cubes, in diameters of the objects")
    return made


def run(options: argparse.Namespace) -> None:
    """Predict every volume with and without its size; report as the table grows."""
    volumes = real.read(options.data)
    model = AnyStar.from_pretrained(options.model)
    model.predict(volumes[0].image, diameter=volumes[0].diameter, progress=False)  # memory is measured once
    report = begin(options, weights=options.model or loading.SHIPPED)
    table: list[dict[str, Any]] = []
    if options.cubes:
        for volume in volumes:
            table += [cube_row(model, volume, diameters) for diameters in options.cubes]
            report.table("size estimated in cubes", table, show=False)
        report.table("size estimated in cubes", table)
        return
    for volume in volumes:
        resampled = [volume if factor == 1 else volume.resampled(factor) for factor in options.resampled]
        slabs = [one.slab(thickness) for one in resampled for thickness in options.slabs or ()]
        for one in slabs or resampled:
            table.append(row(model, one, options.repeats))
            report.table("size given and estimated", table, show=False)
    report.table("size given and estimated", table)
