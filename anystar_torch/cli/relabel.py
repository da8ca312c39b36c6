"""``anystar relabel``: other thresholds for stored candidates, without running the network again."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anystar_torch.cli.predict import NmsThresh, Output, Overwrite, ProbThresh
from anystar_torch.cli.segment import summary, with_results

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int32

    from anystar_torch.io import RunRecord, SpatialImage

_NMS_THRESH = 0.3  # where the candidates were stored without one


def relabel(
    candidates: Annotated[Path, typer.Argument(help="File from anystar predict --candidates.")],
    output: Output = None,
    prob_thresh: ProbThresh = None,
    nms_thresh: NmsThresh = None,
    overwrite: Overwrite = False,
) -> None:
    """Apply other thresholds to stored candidates. Takes seconds."""
    from anystar_torch import io
    from anystar_torch.inference.candidates import Candidates
    from anystar_torch.inference.instances import instances

    start = time.perf_counter()
    found, record = Candidates.load(candidates)
    target = output or io.beside(Path(record.source or candidates.with_suffix(".tif")))
    io.check_target(target, overwrite)
    prob = [value for value in (prob_thresh, record.prob_thresh, found.prob_thresh) if value is not None]
    overlap = [value for value in (nms_thresh, record.nms_thresh, _NMS_THRESH) if value is not None]
    result = instances(found.above(prob[0]), overlap[0], averaged=record.shape_averaging, progress=True)
    record = with_results(record, [result], record.notes)
    io.write(target, result.labels, source_volume(record, result.labels), record, overwrite)
    print(summary(target, record, time.perf_counter() - start))


def source_volume(record: "RunRecord", labels: 'Int32[np.ndarray, "d h w"]') -> "SpatialImage":
    """The volume that the candidates were found in, for its orientation.

    Where it is missing or has another shape, the labels with the spacing of the record.

    Args:
        record: of the run that made the candidates.
        labels: the result.
    """
    from anystar_torch import io

    path = Path(record.source or "")
    if path.exists():
        try:
            spacing = record.spacing if record.unit else None
            image = io.read(
                path, channel=record.channel, frame=record.frame, axes=record.axes, spacing=spacing
            )
        except ValueError:
            image = None
        if image is not None and image.array.shape == labels.shape:
            return replace(image, spacing=record.spacing, unit=record.unit)
    return io.SpatialImage(labels, record.spacing, record.unit)
