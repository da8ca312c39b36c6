"""Export of a trained network to the formats of other programs, with one module per format."""

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
    """An export format.

    Attributes:
        module: name of the module with the function ``write(path, network, config, **options)``.
        kind: what is written, in words for messages.
        ending: of the file; "" for a folder.
        mark: a file in the folder that shows an earlier export; a folder without it is never replaced.
        files: all files of the folder; a folder with others is never replaced.
        beside: ending of a second file that may be written.
        credited: whether authors and licence can be given.
    """

    module: str
    kind: str
    ending: str = ""
    mark: str = ""
    files: tuple[str, ...] = ()
    beside: str = ""
    credited: bool = False

    def check(self, path: Path, overwrite: bool) -> None:
        """Refuse, before the work, what could not or must not be written after it.

        Args:
            path: file or folder to write.
            overwrite: whether an earlier export may be replaced.

        Raises:
            ValueError: the ending is wrong, the folder is missing, or ``path`` must not be replaced.
        """
        if self.ending and path.suffix.lower() != self.ending:
            raise ValueError(f"cannot write {path}: the name of {self.kind} must end in {self.ending}")
        if not self.ending and path.suffix.lower() in _FILES:
            raise ValueError(
                f"cannot write {path}: {self.kind} is a folder, but {path.suffix} is the ending of a file"
            )
        for file in (path, *([path.with_suffix(self.beside)] if self.beside else [])):
            check_target(file, overwrite)
        if path.exists() and self._foreign(path):
            raise ValueError(f"{path} exists and is not {self.kind}; choose another name")
        others = self._others(path) if self.files else []
        if others:
            raise ValueError(
                f"{path} also holds {', '.join(others[:_NAMED])}{', ...' if len(others) > _NAMED else ''}, "
                "which an export would delete; move them away or choose another name"
            )

    def _foreign(self, path: Path) -> bool:
        """Whether an existing file or folder is not an export of this format."""
        return path.is_dir() == bool(self.ending) or bool(self.mark and not (path / self.mark).is_file())

    def _others(self, folder: Path) -> list[str]:
        """Files in a folder that no export of this format has written."""
        # a link to a folder counts as a file: it would be deleted too
        found = (entry for entry in folder.rglob("*") if entry.is_symlink() or not entry.is_dir())
        return sorted({entry.relative_to(folder).as_posix() for entry in found} - set(self.files))

    def write(self, path: Path, network: StarDist, config: ModelConfig, **options: Any) -> Sequence[Path]:
        """Write the network to ``path`` and return the files that were written.

        Args:
            path: file or folder to write.
            network: the network to export.
            config: its settings.
            options: further arguments of the format's ``write``.
        """
        written: Sequence[Path] = import_module(f"{__name__}.{self.module}").write(
            path, network, config, **options
        )
        return written


FORMATS = {
    "onnx": Format("onnx", "an ONNX file", ".onnx"),
    "torch": Format("torch_export", "a torch.export program", ".pt2", beside=".aoti.pt2"),
    "bioimageio": Format("bioimageio", "a BioImage.IO package", ".zip", credited=True),
    "monai": Format(
        "monai_bundle",
        "a MONAI bundle",
        mark="configs/metadata.json",
        files=(
            "configs/metadata.json",
            "configs/inference.json",
            "models/model.pt",
            "docs/README.md",
            "LICENSE",
        ),
        credited=True,
    ),
    "keras": Format(
        "keras",
        "a StarDist model written by this package",
        mark="anystar_torch.json",
        files=("anystar_torch.json", "config.json", "thresholds.json", "weights_best.h5"),
    ),
}
_NAMED = 3  # files that a message names
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
        form: a name in :data:`FORMATS`.
        network: on any device and in any mode; it is not changed.
        config: normalisation, object size and thresholds of the network.
        path: file or folder to write, with the ending of the format.
        overwrite: whether an earlier export may be replaced. A folder with other files is never replaced.
        options: of the format; "torch" has ``compiled``, "bioimageio" and "monai" have ``authors`` and ``license_id``.

    Returns:
        The files that were written: ``path``, and for "torch" also the compiled program.

    Raises:
        ValueError: the format is unknown or cannot express the network, or ``path`` cannot be written.
        ImportError: a library of the format is missing; the message says how to install it.
    """
    if form not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {form!r}")
    wanted, path = FORMATS[form], Path(path)
    wanted.check(path, overwrite)
    given = [name for name in ("authors", "license_id") if name in options]
    if given and not wanted.credited:
        others = ", ".join(name for name, other in FORMATS.items() if other.credited)
        raise ValueError(f"{form} cannot express {' and '.join(given)}; {others} can")
    return wanted.write(path, network, config, **options)
