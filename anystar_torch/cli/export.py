"""``anystar export``: the network in the formats other programs load."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """Formats that can be written."""

    onnx = "onnx"
    torch = "torch"
    bioimageio = "bioimageio"
    monai = "monai"
    keras = "keras"


def export(
    form: Annotated[Form, typer.Option("--format", help="Which format.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File (.onnx, .pt2, .zip) or folder (monai, keras) to write."),
    ],
    model: Annotated[
        Path | None, typer.Argument(help="Model folder; the shipped weights if not given.")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch: also compile for this CPU (.aoti.pt2).")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists.")] = False,
) -> None:
    """Write a network for onnxruntime, C++, the BioImage Model Zoo, MONAI or StarDist in TensorFlow."""
    from anystar_torch.exporting import export as write
    from anystar_torch.network import loading
    from anystar_torch.system.progress import bar

    options = {"compiled": compiled} if form is Form.torch else {}
    network, config = loading.load_model(model)
    with bar(f"exporting to {form.value}"):
        written = write(form.value, network, config, output, overwrite, **options)
    for path in written:
        print(f"{path}: {size_of(path) / 1e6:.1f} MB, {form.value} of {model or 'the shipped weights'}")
    if form is Form.torch and compiled and len(written) == 1:
        print("no C++ compiler was found: nothing was compiled")


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def script(form: str) -> None:
    """What the scripts in ``export/`` run: the command with its format fixed and the model as an option."""
    import argparse
    import sys

    from anystar_torch.cli import main

    parser = argparse.ArgumentParser(description=f"Write a network as {form}; options as for anystar export.")
    parser.add_argument("--model", help="model folder; the shipped weights if not given")
    parser.add_argument("-o", "--output", required=True, help="file or folder to write")
    known, others = parser.parse_known_args(sys.argv[1:])
    main(["export", *([known.model] if known.model else []), "--format", form, "-o", known.output, *others])
