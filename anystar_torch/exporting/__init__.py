"""The trained network in the formats other programs load; one file per format, each whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from anystar_torch.io.atomic import check_target
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig


@dataclass(frozen=True)
class Format:
    """A format this package writes.

    Attributes:
        module: where its ``write(path, network, config, **options)`` lives.
        kind: what it writes, for people.
        ending: of the file; "" for a folder.
        mark: a file by which a folder is known to be an earlier export, so that nothing else is ever replaced.
        beside: ending of a second file.
    """

    module: str
    kind: str
    ending: str = ""
    mark: str = ""
    beside: str = ""

    def check(self, path: Path, overwrite: bool) -> None:
        """Refuse before the work what could not, or must not, be written after it."""
        if self.ending and path.suffix.lower() != self.ending:
            raise ValueError(f"cannot write {path}: the name of {self.kind} ends in {self.ending}")
        if not self.ending and path.suffix.lower() in _FILES:
            raise ValueError(
                f"cannot write {path}: {self.kind} is a folder, and {path.suffix} the ending of a file"
            )
        for file in (path, *([path.with_suffix(self.beside)] if self.beside else [])):
            check_target(file, overwrite)
        if path.exists() and self._foreign(path):
            raise ValueError(f"{path} exists and is not {self.kind}; choose another name")

    def _foreign(self, path: Path) -> bool:
        """Whether something else stands there than this format writes."""
        return path.is_dir() == bool(self.ending) or bool(self.mark and not (path / self.mark).is_file())

    def write(self, path: Path, network: StarDist, config: ModelConfig, **options: Any) -> Sequence[Path]:
        """Write the network to ``path``; what was written."""
        written: Sequence[Path] = import_module(f"{__name__}.{self.module}").write(
            path, network, config, **options
        )
        return written


FORMATS = {
    "onnx": Format("onnx", "an ONNX file", ".onnx"),
    "torch": Format("torch_export", "a torch.export program", ".pt2", beside=".aoti.pt2"),
    "bioimageio": Format("bioimageio", "a BioImage.IO package", ".zip"),
    "monai": Format("monai_bundle", "a MONAI bundle", mark="configs/metadata.json"),
    "keras": Format("keras", "a StarDist model written by this package", mark="anystar_torch.json"),
}
_FILES = (".h5", ".hdf5", ".keras", ".json", ".zip", ".pt", ".pt2", ".onnx")


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
    wanted.check(path, overwrite)
    return wanted.write(path, network, config, **options)
