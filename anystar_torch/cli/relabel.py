"""``anystar relabel``: other thresholds for stored candidates, without running the network again."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from anystar_torch.cli.paths import Outputs, label_file, named_dataset
from anystar_torch.cli.predict import Overwrite
from anystar_torch.cli.segment import summary, with_results

if TYPE_CHECKING:
    from jaxtyping import Int32
    from numpy.typing import NDArray

    from anystar_torch.io import Location, RunRecord, SpatialImage

Output = Annotated[
    str | None,
    typer.Option(
        "-o", "--output", help="Label file, folder or URL. Default: VOLUME.labels.* beside the volume."
    ),
]
ProbThresh = Annotated[
    float | None, typer.Option(help="Probability threshold, 0 to 1. Default: that of the run.")
]
NmsThresh = Annotated[
    float | None, typer.Option(help="Overlap threshold of the suppression, 0 to 1. Default: that of the run.")
]
_NMS_THRESH = 0.3  # where the candidates were stored without one
_NO_PLACE = (
    "warning: these candidates hold no place of their volume, as those of earlier versions; the labels have none "
    "(predict again to have it)"
)


def relabel(
    candidates: Annotated[str, typer.Argument(help="File from anystar predict --candidates, or its URL.")],
    output: Output = None,
    prob_thresh: ProbThresh = None,
    nms_thresh: NmsThresh = None,
    overwrite: Overwrite = False,
) -> None:
    """Apply other thresholds to stored candidates. Takes seconds."""
    from anystar_torch import io
    from anystar_torch.inference.candidates import Candidates
    from anystar_torch.inference.stages import find_instances
    from anystar_torch.io.location import checked

    start = time.perf_counter()
    stored = checked(candidates)
    found, record = Candidates.load(stored)
    target = _beside(record, stored) if output is None else checked(output)
    if output is not None and isinstance(target, Path):
        target = label_file(_source(record, stored), target)
    if isinstance(target, Path):
        Outputs(target, overwrite=overwrite).check(None if record.source is None else Path(record.source))
    else:
        io.LabelStore.check(target, overwrite)
    io.spare([stored, *([] if record.source is None else [checked(record.source)])], [target])
    prob = [value for value in (prob_thresh, record.prob_thresh, found.prob_thresh) if value is not None]
    overlap = [value for value in (nms_thresh, record.nms_thresh, _NMS_THRESH) if value is not None]
    result = find_instances(
        found.above(prob[0]), overlap[0], shape_averaging=record.shape_averaging, progress=True
    )
    notes = (*record.notes, _NO_PLACE) if record.checksum is None else record.notes
    record = with_results(record, [result], notes)
    io.write(target, result.labels, source_volume(record, result.labels), record, overwrite)
    if record.checksum is None:
        print(_NO_PLACE)
    print(summary(target, record, time.perf_counter() - start))


def _beside(record: "RunRecord", candidates: "Location") -> Path:
    """Where labels go that no option names: beside the source, or beside the candidates where its folder is gone.

    Raises:
        ValueError: the folder of the source is gone, and the candidates are at a URL.
    """
    from anystar_torch import io

    source = _source(record, candidates)
    held = io.container(source)
    if held.is_absolute() and held.parent.is_dir():
        return io.beside(source)
    if not isinstance(candidates, Path):
        raise ValueError(
            f"the volume of {candidates} is not on this machine; say with -o where its labels go"
        )
    return io.beside(named_dataset(candidates.parent / held.name, source))


def _source(record: "RunRecord", candidates: "Location") -> Path:
    """The volume of the candidates, which may be gone; a TIFF file of their name where they do not tell.

    The labels get its format. Where a folder of 2D images or DICOM is gone, they get one that keeps the place.
    """
    from anystar_torch import io

    source = Path(record.source or Path(candidates).with_suffix(".tif"))
    if io.kind_of(source) is None and not source.exists():
        return source.with_name(f"{source.name}{'.tif' if record.affine is None else '.nii.gz'}")
    return source


def source_volume(record: "RunRecord", labels: 'Int32[np.ndarray, "d h w"]') -> "SpatialImage":
    """The labels with voxel size and place of the volume that the candidates were found in.

    Its file is only needed for what the format itself keeps, such as the codes of a NIfTI header.

    Args:
        record: of the run that made the candidates.
        labels: the result.

    Raises:
        ValueError: another volume stands where the source was.
    """
    from anystar_torch import io
    from anystar_torch.io.identity import checksum

    affine = None if record.affine is None else np.reshape(record.affine, (4, 4)).astype(np.float64)
    path = Path(record.source or "")
    image = io.SpatialImage(labels, record.spacing, record.unit, affine=affine)
    if record.checksum is None or not io.container(path).exists():
        return image  # old candidates do not say what their source was: another file may have its name now
    try:
        spacing = record.spacing if record.unit else None
        source = io.read(
            path,
            channel=record.channel,
            frame=record.frame,
            axes=record.axes,
            spacing=spacing,
            scene=record.scene,
        )
    except ValueError as error:
        raise ValueError(f"{_other(path)} ({error})") from error
    if checksum(source.array) != record.checksum or not _same_place(source.affine, affine):
        raise ValueError(_other(path))
    return replace(image, path=path, geometry=source.geometry)


def _other(path: Path) -> str:
    return (
        f"{path} is not the volume that the candidates were found in: its voxels or its place differ; "
        "move it away to use the stored place, or predict again"
    )


def _same_place(one: "NDArray[np.float64] | None", other: "NDArray[np.float64] | None") -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.allclose(one, other, rtol=1e-5, atol=1e-6))
