"""``anystar predict``: volumes in, labels out."""

import glob
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

if TYPE_CHECKING:
    from anystar_torch.inference.instances import Instances
    from anystar_torch.inference.predictor import AnyStar
    from anystar_torch.io import Scan

Model = Annotated[Path | None, typer.Option(help="Model folder; the shipped weights if not given.")]
Diameter = Annotated[
    str | None,
    typer.Option(help="Diameter of the median object: voxels of the finest axis (12), or a length (8um)."),
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


@dataclass(frozen=True)
class Job:
    """What to do with every volume."""

    model: "AnyStar"
    spacing: tuple[float, float, float] | None
    diameter: str | None
    prob_thresh: float
    nms_thresh: float
    device: str
    channel: int | None
    frame: int | None
    about: dict[str, Any]


@dataclass(frozen=True)
class Outputs:
    """Where the results of one volume go."""

    labels: Path
    picture: Path | None = None
    candidates: Path | None = None
    points: Path | None = None
    meshes: Path | None = None
    overwrite: bool = False

    @property
    def extra(self) -> list[Path]:
        """What is wanted beside the labels."""
        return [p for p in (self.picture, self.candidates, self.points, self.meshes) if p is not None]

    def check(self) -> None:
        """Refuse before the work what could not be written after it."""
        from anystar_torch import io

        if io.kind_of(self.labels) is None:
            raise ValueError(f"cannot write {self.labels}: the ending must be one of {', '.join(io.KINDS)}")
        for path in (self.labels, *self.extra):
            if not path.parent.is_dir():
                raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
            if path.exists() and not self.overwrite:
                raise ValueError(f"{path} exists; give --overwrite to replace it, or another name")


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
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    channel: Annotated[int | None, typer.Option(help="Which channel, from 0.")] = None,
    frame: Annotated[int | None, typer.Option(help="Which time point, from 0.")] = None,
    picture: Annotated[Path | None, typer.Option(help="Picture of the result (.png).")] = None,
    candidates: Annotated[
        Path | None, typer.Option(help="Keep candidates (.npz) for anystar relabel.")
    ] = None,
    points: Annotated[Path | None, typer.Option(help="Table of the objects (.csv).")] = None,
    meshes: Annotated[
        Path | None, typer.Option(help="Folder for a mesh per object, or one .ply scene.")
    ] = None,
    max_memory: Annotated[str | None, typer.Option(help="Memory to plan with: 6GB, 800MB.")] = None,
    overwrite: Overwrite = False,
) -> int:
    """Find the objects of volumes and write them as labels."""
    from anystar_torch import __version__
    from anystar_torch.inference.predictor import AnyStar

    paths = expand(inputs)
    if len(paths) > 1 and Outputs(Path(), picture, candidates, points, meshes).extra:
        raise ValueError("--picture, --candidates, --points and --meshes take one volume at a time")
    network = AnyStar.from_pretrained(model, max_memory=bytes_of(max_memory))
    config = network.config
    job = Job(
        network, spacing, diameter,
        config.prob_thresh if prob_thresh is None else prob_thresh,
        config.nms_thresh if nms_thresh is None else nms_thresh,
        device, channel, frame, {"anystar_torch": __version__, "model": str(model or "shipped")},
    )  # fmt: skip
    places = [
        Outputs(place(path, output, len(paths)), picture, candidates, points, meshes, overwrite)
        for path in paths
    ]
    if len(paths) == 1:
        print(segment(paths[0], places[0], job))
        return 0
    return _batch(paths, places, job)


def _batch(paths: list[Path], places: list[Outputs], job: Job) -> int:
    """One after the other; what fails is said at the end and stops nothing."""
    from anystar_torch.cli import line_of

    failed = []
    for path, outputs in zip(paths, places, strict=True):
        try:
            print(segment(path, outputs, job), flush=True)
        except Exception as error:
            failed.append(line_of(error))
    print(f"{len(paths) - len(failed)} of {len(paths)} volumes done")
    if failed:
        raise ValueError(f"{len(failed)} of {len(paths)} volumes failed: {'; '.join(failed)}")
    return 0


def segment(path: Path, outputs: Outputs, job: Job) -> str:
    """One volume, or a time series frame by frame, from file to file; the lines that say what was found and how."""
    from anystar_torch import io

    io.recognise(path)
    outputs.check()
    start = time.perf_counter()
    count = 1 if job.frame is not None else io.frames(path)
    if count > 1 and outputs.extra:
        raise ValueError(f"{path} has {count} frames; choose one with --frame for anything beside labels")
    lines, results = [], []
    for frame in [job.frame] if count == 1 else range(count):
        scan = with_spacing(io.read(path, channel=job.channel, frame=frame), job.spacing)
        found, about = _found(path, scan, outputs, job)
        results.append(found)
        where = path.name if count == 1 else f"{path.name} frame {frame}"
        lines += [f"{where}: {note}" for note in found.notes]
    labels = results[0].labels if count == 1 else np.stack([found.labels for found in results])
    io.write(outputs.labels, labels, scan, {**about, **settings(results)}, outputs.overwrite)
    return "\n".join([*lines, summary(outputs.labels, results, time.perf_counter() - start)])


def _found(path: Path, scan: "Scan", outputs: Outputs, job: Job) -> tuple["Instances", dict[str, Any]]:
    """The objects of one frame; everything wanted beside the labels is written."""
    from anystar_torch import io, picture
    from anystar_torch.inference import measure
    from anystar_torch.inference.instances import instances

    stored, notes = job.model.candidates(
        scan.array, scan.spacing, size_of(scan, job.diameter), job.prob_thresh, job.device
    )
    about = {**job.about, "source": str(path), "spacing": scan.spacing, "unit": scan.unit}
    if outputs.candidates:
        about_them = {**about, "nms_thresh": job.nms_thresh, "channel": job.channel, "frame": job.frame}
        stored.save(outputs.candidates, about_them, outputs.overwrite)
    found = instances(stored, job.nms_thresh, progress=True, notes=notes)
    length = scan.spacing if scan.unit else None
    if outputs.points:
        rows = measure.table(found, scan.array, length)
        io.write_table(outputs.points, rows, measure.COLUMNS, outputs.overwrite)
    if outputs.meshes:
        corners = measure.meshes(found, scan.spacing or (1, 1, 1))
        io.write_meshes(outputs.meshes, corners, found.rays.faces.numpy(), outputs.overwrite)
    if outputs.picture:
        picture.planes(
            scan.array, prediction=found.labels, path=outputs.picture, spacing=scan.spacing or (1.0, 1.0, 1.0)
        )
    return found, about


def settings(results: "list[Instances]") -> dict[str, Any]:
    """What made a result, as it is printed and stored; a list where frames differ."""
    sizes = [round(found.diameter, 3) for found in results]
    return {
        "prob_thresh": results[0].prob_thresh,
        "nms_thresh": results[0].nms_thresh,
        "diameter": sizes[0] if len(set(sizes)) == 1 else sizes,
        "objects": sum(len(found) for found in results),
    }


def summary(path: Path, results: "list[Instances]", seconds: float) -> str:
    """The line printed for a result."""
    content = settings(results)
    objects = content.pop("objects")
    used = ", ".join(f"{name} {value}" for name, value in content.items())
    return f"{path}: {objects} objects ({used}) in {seconds:.1f} s"


def with_spacing(scan: "Scan", spacing: tuple[float, float, float] | None) -> "Scan":
    """The scan with ``--spacing`` in place of the file's."""
    from dataclasses import replace

    from anystar_torch.inference.scale import checked_spacing

    return scan if spacing is None else replace(scan, spacing=checked_spacing(spacing), unit="um")


def size_of(scan: "Scan", diameter: str | None) -> float | None:
    """``--diameter`` in voxels of the finest axis."""
    from anystar_torch.inference.scale import voxels

    return None if diameter is None else voxels(diameter, scan.spacing if scan.unit else None)


def expand(inputs: list[str]) -> list[Path]:
    """Files, the volumes of folders, and patterns that the shell left alone."""
    from anystar_torch import io

    paths: list[Path] = []
    for text in inputs:
        path = Path(text)
        if path.is_dir() and not io.is_volume(path):
            found = [p for p in sorted(path.iterdir()) if io.kind_of(p) and ".labels." not in p.name]
            if not found:
                raise ValueError(f"{path} holds no volume; known endings: {', '.join(io.KINDS)}")
            paths += found
        elif not path.exists() and glob.has_magic(text):
            matched = sorted(glob.glob(text, recursive=True))
            if not matched:
                raise ValueError(f"no file matches {text}")
            paths += [Path(name) for name in matched]
        else:
            paths.append(path)
    return paths


def place(path: Path, output: Path | None, count: int) -> Path:
    """Where the labels of ``path`` go."""
    from anystar_torch import io

    if output is None:
        return io.beside(path)
    if output.is_dir():
        return output / io.beside(path).name
    if count > 1:
        raise ValueError(f"for several volumes -o must be a folder that exists, got {output}")
    return output


def bytes_of(text: str | None) -> float | None:
    """``6GB`` as bytes."""
    if text is None:
        return None
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    number, unit = text[:-2], text[-2:].upper()
    try:
        size = float(number) * units[unit]
    except (KeyError, ValueError):
        size = 0.0
    if size <= 0:
        raise ValueError(f"--max-memory must be a size such as 6GB or 800MB, got {text!r}")
    return size
