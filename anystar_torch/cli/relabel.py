"""``anystar relabel``: new thresholds on stored candidates, without running the network again."""

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from anystar_torch.cli.predict import NmsThresh, Output, Overwrite, ProbThresh
from anystar_torch.cli.segment import summary, with_results

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from anystar_torch.io import RunRecord, Scan

_NMS_THRESH = 0.3  # where the candidates were stored without one


def relabel(
    candidates: Annotated[Path, typer.Argument(help="What anystar predict --candidates wrote.")],
    output: Output = None,
    prob_thresh: ProbThresh = None,
    nms_thresh: NmsThresh = None,
    overwrite: Overwrite = False,
) -> None:
    """Apply other thresholds to stored candidates, in seconds."""
    from anystar_torch import io
    from anystar_torch.inference.candidates import Candidates
    from anystar_torch.inference.instances import instances

    start = time.perf_counter()
    found, record = Candidates.load(candidates)
    target = output or io.beside(Path(record.source or candidates.with_suffix(".tif")))
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists; give --overwrite to replace it, or another name with -o")
    stored = [value for value in (prob_thresh, record.prob_thresh, found.prob_thresh) if value is not None]
    overlap = [value for value in (nms_thresh, record.nms_thresh, _NMS_THRESH) if value is not None]
    result = instances(found.above(stored[0]), overlap[0], averaged=record.shape_averaging, progress=True)
    record = with_results(record, [result], record.notes)
    io.write(target, result.labels, source_volume(record, result.labels), record, overwrite)
    print(summary(target, record, time.perf_counter() - start))


def source_volume(record: "RunRecord", labels: "NDArray[np.int32]") -> "Scan":
    """The volume the candidates came from, for its orientation; the labels with its spacing where it is gone.

    Args:
        record: of the run that made the candidates.
        labels: ``[D, H, W]``, the result.
    """
    from anystar_torch import io

    path = Path(record.source or "")
    if path.exists():
        try:
            scan = io.read(path, channel=record.channel, frame=record.frame)
        except ValueError:
            scan = None
        if scan is not None and scan.array.shape == labels.shape:
            return replace(scan, spacing=record.spacing, unit=record.unit)
    return io.Scan(labels, record.spacing, record.unit)
