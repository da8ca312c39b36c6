"""``anystar predict``: volumes in, labels out."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from anystar_torch.cli.paths import Outputs, bytes_of, expand, placed
from anystar_torch.cli.segment import Job, segment

Model = Annotated[Path | None, typer.Option(help="Model folder; the shipped weights if not given.")]
Diameter = Annotated[
    str | None,
    typer.Option(
        help="Diameter of the median object: voxels of the finest axis (12), or a length (8um); "
        "estimated if not given."
    ),
]
Spacing = Annotated[
    tuple[float, float, float] | None,
    typer.Option(metavar="Z Y X", help="Voxel size in micrometres; the file's own if not given."),
]
ProbThresh = Annotated[
    float | None, typer.Option(help="Probability an object needs; the model's if not given.")
]
NmsThresh = Annotated[
    float | None, typer.Option(help="Overlap two objects may have; the model's if not given.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that exist.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "-o", "--output", help="Result file (folder, for several inputs); IN.labels.* if not given."
    ),
]
_FOLDER = "for several inputs a folder"


def predict(  # noqa: PLR0913 - one argument per flag
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Volumes: files, folders or patterns.")
    ],
    output: Output = None,
    model: Model = None,
    diameter: Diameter = None,
    spacing: Spacing = None,
    prob_thresh: ProbThresh = None,
    nms_thresh: NmsThresh = None,
    normalisation: Annotated[
        str | None, typer.Option(help="percentile, minmax, anystar or clipped; the model's if not given.")
    ] = None,
    flips: Annotated[
        bool, typer.Option("--flips", help="Average over mirror images: eight times the work.")
    ] = False,
    averaged: Annotated[
        bool | None,
        typer.Option(
            "--averaged/--single",
            help="Shapes: means over the candidates around a centre, or the best one's alone (StarDist's way); "
            "averaged if not given, but for networks imported from StarDist.",
        ),
    ] = None,
    multiscale: Annotated[
        bool | None,
        typer.Option(
            "--multiscale/--one-scale",
            help="Look a second time, from further away (30 % more work), or once (StarDist's way); "
            "multiscale if not given, but for networks imported from StarDist or that know no smaller objects.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    channel: Annotated[int | None, typer.Option(help="Which channel, from 0.")] = None,
    axes: Annotated[
        str | None,
        typer.Option(
            metavar="LETTERS",
            help="What the dimensions are, such as TCZYX (time, channel, z, y, x); the file's own if not given.",
        ),
    ] = None,
    frame: Annotated[int | None, typer.Option(help="Which time point, from 0; all if not given.")] = None,
    picture: Annotated[Path | None, typer.Option(help=f"Picture of the result (.png); {_FOLDER}.")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help=f"Keep candidates (.npz) for anystar relabel; {_FOLDER}.")
    ] = None,
    points: Annotated[Path | None, typer.Option(help=f"Table of the objects (.csv); {_FOLDER}.")] = None,
    meshes: Annotated[
        Path | None, typer.Option(help="Folder for a mesh per object, or one .ply scene.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(help="Memory to stay below: 6GB, 800MB; half of what is free if not given.")
    ] = None,
    overwrite: Overwrite = False,
) -> int:
    """Find the objects of volumes and write them as labels."""
    from anystar_torch.inference.instances import checked_overlap
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import RunRecord
    from anystar_torch.system.allocator import keep_freed_memory, return_freed_memory
    from anystar_torch.system.device import precision, resolve, without_overflow

    if max_memory is None:  # a third faster on a CPU, at the price of memory that stays taken
        keep_freed_memory()
    else:
        return_freed_memory()
    paths = expand(inputs)
    places = placed(paths, output, Outputs(Path(), picture, candidates, points, meshes, overwrite))
    network = AnyStar.from_pretrained(
        model, max_memory=bytes_of(max_memory), flips=flips, averaged=averaged, multiscale=multiscale,
        normalisation=normalisation,
    )  # fmt: skip
    config, where = network.config, resolve(device)
    kind = without_overflow(precision(where), network.network)
    record = RunRecord(
        model=str(model or "shipped"),
        normalisation=config.normalisation,
        tta=flips,
        shape_averaging=network.averaged,
        coarse_pass=network.multiscale,
        diameter_source="given" if diameter is not None else "estimated" if config.sizes_known else "assumed",
        device=str(where),
        precision=str(kind).removeprefix("torch."),
        channel=channel,
        frame=frame,
    )
    job = Job(
        model=network,
        spacing=spacing,
        axes=axes,
        diameter=diameter,
        prob_thresh=config.prob_thresh if prob_thresh is None else prob_thresh,
        nms_thresh=config.nms_thresh if nms_thresh is None else checked_overlap(nms_thresh),
        progress=len(paths) == 1,
        record=record,
    )
    if len(paths) > 1:
        return _batch(paths, places, job)
    done = segment(paths[0], places[0], job)
    print("\n".join([*done.notes, done.line]))
    return 0


def _batch(paths: list[Path], places: list[Outputs], job: Job) -> int:
    """One after the other under one bar; what came of each is said at the end, and what fails stops nothing."""
    from anystar_torch.cli import line_of
    from anystar_torch.system.progress import bar

    start, failed, done = time.perf_counter(), [], []
    with bar(f"predicting {len(paths)} volumes") as tick:
        for number, (path, outputs) in enumerate(zip(paths, places, strict=True)):
            tick(number, len(paths))
            try:
                done.append(segment(path, outputs, job))
            except Exception as error:
                failed.append(line_of(error))
    for one in done:
        print("\n".join([*one.notes, one.line]))
    seconds, objects = time.perf_counter() - start, sum(one.objects for one in done)
    print(f"{len(done)} of {len(paths)} volumes done: {objects} objects in {seconds:.1f} s", flush=True)
    if failed:
        sys.stdout.flush()
        raise ValueError(f"{len(failed)} of {len(paths)} volumes failed: {'; '.join(failed)}")
    return 0
