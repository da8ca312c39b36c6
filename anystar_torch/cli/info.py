"""``anystar info``: what a model is."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def info(
    model: Annotated[
        Path | None, typer.Argument(help="Model folder; the shipped weights if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Say what a model is: network, sizes it knows, thresholds, where it comes from."""
    from anystar_torch.inference.memory import bytes_per_voxel
    from anystar_torch.inference.predictor import AnyStar

    found = AnyStar.from_pretrained(model)
    network, config = found.network, found.config
    low, middle, high = config.diameter_band
    content: dict[str, Any] = {
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
        **{f"provenance {name}": value for name, value in config.provenance.items()},
    }
    content = {name: value for name, value in content.items() if value is not None}
    if as_json:
        print(json.dumps(content, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, title=str(model or "shipped weights"))
    for name, value in content.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    Console().print(table)
