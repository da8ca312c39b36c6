"""The trained network in the formats other programs load; one file per format, each whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anystar_torch.stardist import StarDist
from anystar_torch.weights import ModelConfig


@dataclass(frozen=True)
class Format:
    """A format this package writes.

    Attributes:
        module: where its ``write(path, network, config, **options)`` lives.
        kind: what it writes, for people.
        ending: of the file; "" for a folder.
    """

    module: str
    kind: str
    ending: str

    def write(self, path: Path, network: StarDist, config: ModelConfig, **options: Any) -> Sequence[Path]:
        """Write the network to ``path``; what was written."""
        written: Sequence[Path] = import_module(f"{__name__}.{self.module}").write(
            path, network, config, **options
        )
        return written


FORMATS = {
    "onnx": Format("onnx", "an ONNX file", ".onnx"),
    "torch": Format("torch_export", "a torch.export program", ".pt2"),
    "bioimageio": Format("bioimageio", "a BioImage.IO package", ".zip"),
    "monai": Format("monai_bundle", "a MONAI bundle", ""),
    "keras": Format("keras", "a StarDist folder", ""),
}


def export(
    form: str,
    network: StarDist,
    config: ModelConfig,
    path: Path | str,
    overwrite: bool = False,
    **options: Any,
) -> Sequence[Path]:
    """Write a network in a format.

    Args:
        form: one of :data:`FORMATS`.
        network: on any device, in any mode; it is not changed.
        config: what prediction must know of it.
        path: file or folder to write; its ending must be the format's.
        overwrite: False refuses to replace what exists.
        options: of the format: ``compiled`` for "torch".

    Returns:
        What was written: ``path``, and for "torch" also the compiled program.

    Raises:
        ValueError: an unknown format, a path that cannot be written, or a network the format cannot carry.
        ImportError: a library the format needs is missing; says how to install it.
    """
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")
    wanted, path = FORMATS[form], Path(path)
    if path.suffix.lower() != wanted.ending and (wanted.ending or path.suffix):
        name = (
            f"has a name that ends in {wanted.ending}"
            if wanted.ending
            else "is a folder: a name without ending"
        )
        raise ValueError(f"cannot write {path}: {wanted.kind} {name}")
    if not path.parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {path.parent}")
    if path.exists() and not overwrite:
        raise ValueError(f"{path} exists; give --overwrite to replace it, or another name with -o")
    return wanted.write(path, network, config, **options)
