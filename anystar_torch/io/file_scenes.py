"""The scenes of a file: positions of a stage, or images."""

from collections.abc import Sequence
from pathlib import Path

from anystar_torch.io import bioimage, tiff
from anystar_torch.io.formats import WITH_SCENES, recognise
from anystar_torch.io.location import Location, checked


def scenes(path: Location) -> tuple[str, ...]:
    """Names of the scenes of a file, each as :func:`anystar_torch.io.read` takes it.

    A scene without a name of its own has its number, from 0.

    Args:
        path: file or folder, or the URL of a Zarr.

    Returns:
        One name per scene; empty where the file holds one.

    Raises:
        ValueError: the file is missing, broken or in an unknown format, or two scenes cannot be told apart.
        ImportError: a package for the format is not installed.
    """
    place = checked(path)
    module = recognise(place)
    if not isinstance(place, Path) or module not in WITH_SCENES:
        return ()
    names = tiff.scene_names(place) if module is tiff else bioimage.scene_names(place)
    return _distinct(names, place) if len(names) > 1 else ()


def _distinct(names: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names, with numbers in place of those that several scenes have."""
    found = [name if name and names.count(name) == 1 else str(number) for number, name in enumerate(names)]
    if len(set(found)) < len(found):
        raise ValueError(f"{path} has scenes with equal names, which cannot be told apart; rename them")
    return tuple(found)
