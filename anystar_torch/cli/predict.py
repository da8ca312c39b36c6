"""``anystar predict``: segment volumes and write labels."""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from anystar_torch.cli import large
from anystar_torch.cli.messages import line_of, with_options
from anystar_torch.cli.paths import Outputs, expand, placed
from anystar_torch.cli.process import bytes_of, set_allocator, set_threads
from anystar_torch.cli.segment import Job, segment

if TYPE_CHECKING:
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import RunRecord

Model = Annotated[Path | None, typer.Option(help="Model folder. Default: the shipped weights.")]
Diameter = Annotated[
    str | None,
    typer.Option(
        help="Diameter of the median object, in voxels of the finest axis (12) or as a length (8um). "
        "Default: estimated."
    ),
]
Spacing = Annotated[
    tuple[float, float, float] | None,
    typer.Option(metavar="Z Y X", help="Voxel size in micrometres. Default: the file's."),
]
ProbThresh = Annotated[
    float | None, typer.Option(help="Probability threshold, 0 to 1. Default: the model's.")
]
NmsThresh = Annotated[
    float | None, typer.Option(help="Overlap threshold of the suppression, 0 to 1. Default: the model's.")
]
Normalisation = Annotated[
    str | None,
    typer.Option(
        help="Intensity normalisation: percentile, minmax, anystar or clipped. Default: the model's."
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta/--no-tta",
        help="Test-time augmentation: mean prediction over eight mirrored inputs. Takes eight times as long.",
    ),
]
ShapeAveraging = Annotated[
    bool | None,
    typer.Option(
        "--shape-averaging/--no-shape-averaging",
        help="Shape of an object: the mean over its candidates, or that of its best candidate (as in StarDist). "
        "Default: on; off for models imported from StarDist.",
    ),
]
CoarsePass = Annotated[
    bool | None,
    typer.Option(
        "--coarse-pass/--no-coarse-pass",
        help="Second pass at a coarser scale, which suppresses debris and texture. Takes 30 % longer. "
        "Default: on; off for models imported from StarDist or not trained on smaller objects.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Channel = Annotated[int | None, typer.Option(help="Index of the channel, from 0.")]
Axes = Annotated[
    str | None,
    typer.Option(
        metavar="LETTERS",
        help="Meaning of the dimensions: TCZYX for time, channel, z, y, x. Default: the file's.",
    ),
]
Scene = Annotated[
    str | None,
    typer.Option(help="Name or number (from 0) of the scene or position, where the file has several."),
]
Frame = Annotated[int | None, typer.Option(help="Index of the time point, from 0. Default: all.")]
MaxMemory = Annotated[
    str | None, typer.Option(help="Memory limit: 6GB, 800MB. Default: half of the free memory.")
]
Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Threads of each process. Default: one per core; with --workers, an equal share of the cores.",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        help="Label file or URL, or a folder for several inputs. Default: IN.labels.* beside IN.",
    ),
]
_FOLDER = "A folder for several inputs."
Picture = Annotated[Path | None, typer.Option(help=f"Picture of the result (.png). {_FOLDER}")]
KeptCandidates = Annotated[
    Path | None, typer.Option(help=f"Candidates (.npz) for anystar relabel. {_FOLDER}")
]
Table = Annotated[Path | None, typer.Option(help=f"Table of the objects (.csv, .parquet). {_FOLDER}")]
Meshes = Annotated[
    Path | None,
    typer.Option(help="Meshes of the objects: one .ply file, or a folder with a file per object."),
]
_BLOCKWISE = "Volumes beyond memory"
Workers = Annotated[
    int | None,
    typer.Option(help="Number of processes on this machine that work together.", rich_help_panel=_BLOCKWISE),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Dask cluster to work on: tcp://host:8786.", rich_help_panel=_BLOCKWISE
    ),
]
Mask = Annotated[
    Path | None,
    typer.Option(
        help="Volume of any resolution that is not 0 where objects may be.", rich_help_panel=_BLOCKWISE
    ),
]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option(
        "--range",
        metavar="LOW HIGH",
        help="Grey values that are mapped to 0 and 1. Default: measured.",
        rich_help_panel=_BLOCKWISE,
    ),
]
IntoLabels = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Write the labels into the group labels of the OME-Zarr source.",
        rich_help_panel=_BLOCKWISE,
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder in which NAME.work is made for results of tasks. All workers see it. Default: that of the labels.",
        rich_help_panel=_BLOCKWISE,
    ),
]


def predict(  # noqa: PLR0913 - one argument per option
    inputs: Annotated[
        list[str], typer.Argument(metavar="IN...", help="Volumes: files, folders or patterns.")
    ],
    output: Output = None,
    model: Model = None,
    diameter: Diameter = None,
    spacing: Spacing = None,
    prob_thresh: ProbThresh = None,
    nms_thresh: NmsThresh = None,
    normalisation: Normalisation = None,
    tta: Tta = False,
    shape_averaging: ShapeAveraging = None,
    coarse_pass: CoarsePass = None,
    device: Device = "auto",
    channel: Channel = None,
    axes: Axes = None,
    scene: Scene = None,
    frame: Frame = None,
    picture: Picture = None,
    candidates: KeptCandidates = None,
    table: Table = None,
    meshes: Meshes = None,
    max_memory: MaxMemory = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
    workers: Workers = None,
    scheduler: Scheduler = None,
    mask: Mask = None,
    range_: Range = None,
    into_labels: IntoLabels = None,
    work: Work = None,
) -> int:
    """Segment volumes and write their labels."""
    from anystar_torch.inference.candidates import checked_overlap
    from anystar_torch.inference.predictor import AnyStar

    set_allocator(max_memory)
    set_threads(threads)
    outputs = Outputs(Path(), picture, candidates, table, meshes, overwrite)
    network = AnyStar.from_pretrained(
        model,
        max_memory=bytes_of(max_memory),
        tta=tta,
        shape_averaging=shape_averaging,
        coarse_pass=coarse_pass,
        normalisation=normalisation,
    )
    job = Job(
        model=network,
        spacing=spacing,
        diameter=diameter,
        prob_thresh=network.config.prob_thresh if prob_thresh is None else prob_thresh,
        nms_thresh=network.config.nms_thresh if nms_thresh is None else checked_overlap(nms_thresh),
        progress=True,
        record=replace(
            # With a scheduler, the workers decide what the device is.
            settings_record(network, model, diameter, device if scheduler is None else "cpu"),
            channel=channel,
            frame=frame,
            axes=axes,
            scene=scene,
        ),
    )
    blockwise = large.Blockwise(
        workers=workers,
        scheduler=scheduler,
        mask=mask,
        intensity_range=range_,
        into_labels=into_labels,
        work=work,
        threads=threads,
        device=device,
    )
    if large.is_wanted(inputs, output, outputs, blockwise, job):
        print(large.segment_large(inputs[0], output, outputs, job, blockwise))
        return 0
    return _segment_each(expand(inputs), output, outputs, job)


def _segment_each(paths: list[Path], output: str | None, outputs: Outputs, job: Job) -> int:
    """Segment volumes in memory, and return the exit status."""
    places = placed(paths, None if output is None else Path(output), outputs)
    if len(paths) > 1:
        return _batch(paths, places, replace(job, progress=False))
    done = segment(paths[0], places[0], job)
    print("\n".join([*map(with_options, done.notes), done.line]))
    return 0


def settings_record(network: "AnyStar", model: Path | None, diameter: str | None, device: str) -> "RunRecord":
    """The settings of the network, which all results have in common.

    Args:
        network: the network and how it is used.
        model: its folder; None for the shipped weights.
        diameter: what the user gave; None where it is estimated.
        device: name of the device.
    """
    from anystar_torch.io import RunRecord
    from anystar_torch.system.device import preferred_precision, resolve, without_overflow

    place = resolve(device)
    kind = without_overflow(preferred_precision(place), network.network)
    source: Literal["given", "estimated", "assumed"]
    source = "given" if diameter is not None else "estimated" if network.config.sizes_known else "assumed"
    return RunRecord(
        model=str(model or "shipped"),
        normalisation=network.config.normalisation,
        tta=network.tta,
        shape_averaging=network.shape_averaging,
        coarse_pass=network.coarse_pass,
        diameter_source=source,
        device=str(place),
        precision=str(kind).removeprefix("torch."),
    )


def _batch(paths: list[Path], places: list[Outputs], job: Job) -> int:
    """Segment one volume after the other, and report all results at the end. An error ends only its volume.

    Raises:
        ValueError: volumes failed; names the reasons.
    """
    from anystar_torch.system.progress import bar
    from anystar_torch.system.wording import number_of

    start, failed, done = time.perf_counter(), [], []
    try:
        with bar(f"predicting {len(paths)} volumes") as tick:
            for number, (path, outputs) in enumerate(zip(paths, places, strict=True)):
                tick(number, len(paths))
                try:
                    done.append(segment(path, outputs, job))
                except Exception as error:
                    line = line_of(error)
                    failed.append(line if path.name in line else f"{path}: {line}")
    finally:  # also after Ctrl-C
        for one in done:
            print("\n".join([*map(with_options, one.notes), one.line]))
        found, seconds = number_of(sum(one.objects for one in done), "object"), time.perf_counter() - start
        print(f"{len(done)} of {len(paths)} volumes done: {found} in {seconds:.1f} s", flush=True)
    if failed:
        sys.stdout.flush()
        raise ValueError(f"{len(failed)} of {len(paths)} volumes failed: {'; '.join(failed)}")
    return 0
