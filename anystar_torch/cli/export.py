"""``anystar export``: write a network in the format of another program."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Form(StrEnum):
    """Names of the formats."""

    onnx = "onnx"
    torch = "torch"
    bioimageio = "bioimageio"
    monai = "monai"
    keras = "keras"


def export(
    form: Annotated[Form, typer.Option("--format", help="Format to write.")],
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="File (.onnx, .pt2, .zip) or folder (monai, keras) to write."),
    ],
    model: Annotated[Path | None, typer.Argument(help="Model folder. Default: the shipped weights.")] = None,
    authors: Annotated[
        list[str] | None,
        typer.Option(
            "--author",
            help="With --format bioimageio or monai: an author of the network; once per author. Default: unknown, "
            "except for the shipped network.",
        ),
    ] = None,
    license_id: Annotated[
        str | None,
        typer.Option("--license", help="Likewise: licence of its weights (SPDX identifier, e.g. CC-BY-4.0)."),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile", help="With --format torch: also compile for this CPU (.aoti.pt2)."
        ),
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing export.")] = False,
) -> None:
    """Export a network to ONNX, torch.export, BioImage.IO, MONAI or StarDist for TensorFlow."""
    from anystar_torch.exporting import export as write
    from anystar_torch.network import loading
    from anystar_torch.system.progress import bar

    given = {
        "authors": authors,
        "license_id": license_id,
        "compiled": compiled if form is Form.torch else None,
    }
    options = {name: value for name, value in given.items() if value is not None and value != []}
    network, config = loading.load_model(model)
    with bar(f"exporting to {form.value}"):
        written = write(form.value, network, config, output, overwrite, **options)
    for path in written:
        print(f"{path}: {disk_size(path) / 1e6:.1f} MB, {form.value} of {model or 'the shipped weights'}")
    if form is Form.torch and compiled and len(written) == 1:
        print("no C++ compiler was found, so the program was not compiled")


def disk_size(path: Path) -> int:
    """Size of a file, or of all files in a folder, in bytes.

    Args:
        path: of the file or folder; inner folders count.
    """
    return sum(p.stat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if p.is_file())


def script(form: str) -> None:
    """Run the command with one format and the model as an option; the scripts in ``export/`` call it.

    Args:
        form: name of the format.
    """
    import argparse
    import sys

    from anystar_torch.cli import main

    parser = argparse.ArgumentParser(
        description=f"Export a network to {form}. Other options: see anystar export --help."
    )
    parser.add_argument("--model", help="model folder; default: the shipped weights")
    parser.add_argument("-o", "--output", required=True, help="file or folder to write")
    known, others = parser.parse_known_args(sys.argv[1:])
    main(["export", *([known.model] if known.model else []), "--format", form, "-o", known.output, *others])
