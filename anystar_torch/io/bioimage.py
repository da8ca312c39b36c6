"""Microscope formats through bioio and its readers: CZI, LIF, ND2 and what else is installed. They are only read."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from anystar_torch.io.reading import readable
from anystar_torch.io.stored import StoredImage

#: Endings that bioio's readers know; those of the extra "formats" read the first three.
ENDINGS = (".czi", ".lif", ".nd2", ".oir", ".oib", ".lsm", ".vsi", ".dv", ".sldy")
_MOST_NAMED = 5  # scenes that a message lists

# What bioio logs of a file that it cannot read is said in one line here. Without a handler Python would print it, too.
logging.getLogger("bioio").addHandler(logging.NullHandler())


@contextmanager
def opened(path: Path, scene: str | None = None) -> Iterator[StoredImage]:
    """Open one scene of a file.

    Args:
        path: the file.
        scene: name or number of the scene, where the file has several.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the file is broken, no installed package reads it, or which of its scenes is meant is unknown.
        ImportError: bioio is not installed.
    """
    image_of = _bioio()
    with _readable(path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the readers' libraries, about themselves
            image = image_of(path, use_plugin_cache=True)
            _check_scenes(image, path)
            image.set_scene(scene_number(scene, image.scenes, path))
            data = image.xarray_dask_data
            names = tuple(map(str, data.coords["C"].values)) if "C" in data.coords else ()
            sizes = {axis.lower(): getattr(image.physical_pixel_sizes, axis) for axis in "ZYX"}
        yield StoredImage(
            array=_Lazy(data.data),
            dtype=np.dtype(data.dtype),
            axes=tuple(map(str, data.dims)),
            sizes=sizes,
            units=dict.fromkeys("zyx", "um"),  # bioio's readers give micrometres
            style="ome",
            channel_names=names,
        )


def scene_names(path: Path) -> tuple[str, ...]:
    """Names of the scenes of a file.

    Args:
        path: the file.

    Raises:
        ValueError: the file is broken, or no installed package reads it.
        ImportError: bioio is not installed.
    """
    image_of = _bioio()
    with _readable(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return tuple(map(str, image_of(path, use_plugin_cache=True).scenes))


def record_text(path: Path) -> str | None:
    """None: nothing is written in these formats.

    Args:
        path: not used.
    """
    return None


def scene_number(scene: str | None, names: tuple[str, ...] | list[str], path: Path) -> int:
    """The number of a scene, from 0.

    Args:
        scene: its name, or its number as text; None for the only scene.
        names: of all scenes of the file.
        path: of the file, for errors.

    Raises:
        ValueError: there are several scenes and none is chosen, or there is no such scene.
    """
    listed = ", ".join(names[:_MOST_NAMED]) + (", ..." if len(names) > _MOST_NAMED else "")
    if scene is None and len(names) > 1:
        raise ValueError(
            f"{path} has {len(names)} scenes ({listed}); choose one with scene=, by name or number"
        )
    if scene is None:
        return 0
    if names.count(scene) == 1:
        return names.index(scene)
    if scene.isdecimal() and int(scene) < len(names):
        return int(scene)
    raise ValueError(f"{path} has no scene {scene}; it has {listed} (0 to {len(names) - 1})")


def _readable(path: Path) -> AbstractContextManager[None]:
    """A context in which errors of the readers become one line."""
    return readable(path, f"{path.suffix[1:].upper()} (other readers: pip install bioio-bioformats)")


def _check_scenes(image: Any, path: Path) -> None:
    """Refuse a CZI file that holds more scenes than its metadata describe, because bioio sees only those.

    Raises:
        ValueError: the numbers of scenes differ.
    """
    if path.suffix.lower() != ".czi":
        return
    from pylibCZIrw import czi

    with czi.open_czi(str(path)) as file:
        held = len(file.scenes_bounding_rectangle)
    if held > len(image.scenes):
        raise ValueError(f"{path} holds {held} scenes, and its metadata describe {len(image.scenes)} of them")


class _Lazy:
    """A dask array that is computed when it is indexed."""

    def __init__(self, array: Any) -> None:
        self._array, self.shape = array, tuple(array.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> Shaped[np.ndarray, "..."]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return np.asarray(self._array[index])


def _bioio() -> Any:
    try:
        from bioio import BioImage
    except ImportError as error:
        raise ImportError("microscope formats need an extra: pip install 'anystar_torch[formats]'") from error
    return BioImage
