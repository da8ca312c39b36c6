"""``anystar relabel``: new thresholds on stored candidates, without running the network again."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from anystar_torch.cli.predict import NmsThresh, Output, Overwrite, ProbThresh
from anystar_torch.cli.segment import settings, summary


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
    found, about = Candidates.load(candidates)
    target = output or io.beside(Path(about.get("source", candidates.with_suffix(".tif"))))
    if target.exists() and not overwrite:
        raise ValueError(f"{target} exists; give --overwrite to replace it, or another name with -o")
    found = found.above(about.get("prob_thresh", found.prob_thresh) if prob_thresh is None else prob_thresh)
    used = about.get("nms_thresh", 0.3) if nms_thresh is None else nms_thresh
    result = instances(found, used, averaged=about.get("averaged", True), progress=True)
    about |= settings([result])
    io.write(target, result.labels, source(about, result.labels), about, overwrite)
    print(summary(target, about, time.perf_counter() - start))


def source(about: dict[str, Any], labels: Any) -> Any:
    """The scan the candidates came from, for its orientation; where it is gone, its spacing."""
    from anystar_torch import io

    path = Path(about.get("source", ""))
    if path.exists():
        try:
            scan = io.read(path, channel=about.get("channel"), frame=about.get("frame"))
            spacing = tuple(about["spacing"]) if about.get("spacing") else None
            scan = replace(scan, spacing=spacing, unit=about.get("unit", ""))
        except ValueError:
            scan = None
        if scan is not None and scan.array.shape == labels.shape:
            return scan
    spacing = about.get("spacing")
    return io.Scan(labels, tuple(spacing) if spacing else None, about.get("unit", ""))
