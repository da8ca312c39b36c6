"""``anystar info``: properties of a model, or the run record of a result."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from anystar_torch.cli.paths import is_candidates


def info(
    path: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL|RESULT]",
            help="Model folder, or labels (file or URL) or candidates from anystar predict. "
            "Default: the shipped weights.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show a model (architecture, object diameters, thresholds, provenance) or what made a result."""
    content = _result(path) if path is not None and _is_labels(path) else _model(path)
    content = {name: value for name, value in content.items() if value is not None}
    if as_json:
        print(json.dumps(content, indent=2))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # names and values are no markup: brackets in them are shown
    table = Table(show_header=False, title=Text(str(path or "shipped weights")))
    for name, value in content.items():
        table.add_row(name, Text(f"{value:,}" if type(value) is int else str(value)))
    Console().print(table)


def _is_labels(text: str) -> bool:
    """Whether a path or URL is a label volume and not a model folder."""
    from anystar_torch import io

    path = Path(text)
    return io.is_url(text) or path.is_file() or (path.is_dir() and io.is_volume(path))


def _result(path: str) -> dict[str, Any]:
    """The run record of a label volume, or of candidates.

    Raises:
        ValueError: the file is not a volume, or holds no run record.
    """
    from anystar_torch import io
    from anystar_torch.inference.candidates import Candidates

    candidates = not io.is_url(path) and is_candidates(Path(path))
    record = Candidates.load(path)[1] if candidates else io.read_record(path)
    if record is None:
        raise ValueError(f"{path} holds no run record; anystar predict and anystar relabel store one")
    return asdict(record)


def _model(path: str | None) -> dict[str, Any]:
    """Names and values of the properties of a model."""
    from anystar_torch.inference.network_memory import bytes_per_voxel
    from anystar_torch.inference.predictor import AnyStar

    found = AnyStar.from_pretrained(None if path is None else Path(path))
    network, config = found.network, found.config
    low, middle, high = config.diameter_band
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        **{f"network {name}": value for name, value in config.architecture.items()},
        "input sizes are multiples of": list(network.divisor),
        "memory per voxel": f"{bytes_per_voxel(network, network.divisor) / 1000:.2f} kB",
        "normalisation": config.normalisation,
        "object diameters in voxels": {"5 %": low, "median": middle, "95 %": high},
        "prob_thresh": config.prob_thresh,
        "nms_thresh": config.nms_thresh,
        "imported from": config.imported_from,
        "receptive field in voxels": config.receptive_field,
        "thin volumes are continued to": f"{config.smallest_tile} voxels" if config.smallest_tile else None,
        **{f"provenance {name}": value for name, value in config.provenance.as_dict().items()},
    }
