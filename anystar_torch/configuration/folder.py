"""The folder of the configuration files. This module imports no large library, so tab completion is fast."""

from pathlib import Path


def config_folder() -> Path:
    """The folder of the configuration files, inside the installed package or beside it in the repository.

    Raises:
        ValueError: the folder is missing.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "configs", package.parent / "configs"):
        if (folder / "synth").is_dir():
            return folder
    raise ValueError(f"no configuration files in {package} or beside it; reinstall anystar_torch")
