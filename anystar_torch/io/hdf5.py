"""HDF5: plain datasets, those of ilastik, and BigDataViewer's; a dataset is named as in ``file.h5:/group/name``."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Integer

from anystar_torch.io import bigdataviewer
from anystar_torch.io.reading import readable
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.stored import StoredImage

_NAMED = re.compile(
    r"^(?P<file>.+?\.(?:h5|hdf5))(?:(?P<colon>:)/*|/)(?P<inner>.+)$", re.IGNORECASE | re.DOTALL
)
_KEY = "anystar"  # of the run record in the attributes
_LABELS = "labels"  # the dataset that is written
_MOST_NAMED = 5  # datasets that a message lists


def split(path: Path) -> tuple[Path, str | None]:
    """The file and the dataset of a name such as ``file.h5:/group/name`` or ``file.h5/group/name``.

    Args:
        path: a name; the form without a colon counts where the file exists.

    Returns:
        The path itself and None where it names no dataset.
    """
    found = _NAMED.match(path.as_posix())  # Windows turns "/" of a dataset into "\\"
    if found is None or not (found["colon"] or Path(found["file"]).is_file()):
        return path, None
    return Path(found["file"]), found["inner"].strip("/")


@contextmanager
def opened(path: Path) -> Iterator[StoredImage]:
    """Open a dataset, or the volumes of a BigDataViewer file.

    Args:
        path: the file, with the name of a dataset where it holds several.

    Yields:
        The image; it is read when its array is indexed.

    Raises:
        ValueError: the file is broken, or which of its datasets is meant is unknown.
        ImportError: h5py is not installed.
    """
    name, inner = split(path)
    with readable(path, "HDF5"), _h5py().File(name, "r") as file:
        if inner is None and bigdataviewer.is_bigdataviewer(file):
            yield bigdataviewer.image(file, name)
        else:
            yield _image(_dataset(file, inner, path))


def record_text(path: Path) -> str | None:
    """The text of the run record in the attributes of the dataset; None where there is none.

    Args:
        path: the file, with the name of a dataset where it holds several.

    Raises:
        ValueError: which of the datasets is meant is unknown.
        ImportError: h5py is not installed.
    """
    name, inner = split(path)
    with _h5py().File(name, "r") as file:
        text = _dataset(file, inner, path).attrs.get(_KEY)
    return None if text is None else str(text)


def _dataset(file: Any, inner: str | None, path: Path) -> Any:
    """The dataset that is named, or the only one with at least three dimensions.

    Raises:
        ValueError: there is no such dataset, or several.
    """
    import h5py

    found: list[str] = []
    file.visititems(
        lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) and item.ndim > 2 else None
    )
    listed = ", ".join(found[:_MOST_NAMED]) + (", ..." if len(found) > _MOST_NAMED else "")
    if inner is not None:
        if inner not in file or not isinstance(file[inner], h5py.Dataset):
            raise ValueError(
                f"{path}: the file has no dataset {inner}; it has {listed or 'none that is a volume'}"
            )
        return file[inner]
    if not found:
        raise ValueError(f"{path} holds no dataset of three dimensions or more")
    if len(found) != 1:
        raise ValueError(
            f"{path} holds {len(found)} datasets that may be volumes ({listed}); name one, as in {path}:/{found[0]}"
        )
    return file[found[0]]


def _image(dataset: Any) -> StoredImage:
    """A dataset with the names of its axes (ilastik's axistags, or HDF5's labels) and its voxel size."""
    names: tuple[str, ...] = tuple(str(dimension.label) for dimension in dataset.dims)
    sizes: dict[str, Any] = {}
    units: dict[str, str | None] = {}
    tags = dataset.attrs.get("axistags")
    if tags is not None:
        described = json.loads(tags)["axes"]
        names = tuple(str(axis["key"]) for axis in described)
    if "spacing" in dataset.attrs:  # as written here where the unit is unknown
        sizes = _sizes(dataset.attrs["spacing"])
    elif "element_size_um" in dataset.attrs:
        sizes = _sizes(dataset.attrs["element_size_um"])
        units = dict.fromkeys("zyx", "um")
    return StoredImage(
        array=dataset,
        dtype=np.dtype(dataset.dtype),
        axes=names,
        sizes=sizes,
        units=units,
        style="hdf5",
        blocks=dataset.chunks,
    )


def _sizes(attribute: Any) -> dict[str, Any]:
    """Voxel sizes by axis; empty where an attribute is not a list of three."""
    return dict(zip("zyx", attribute, strict=True)) if np.shape(attribute) == (3,) else {}


def write(
    path: Path, labels: Integer[np.ndarray, "*t d h w"], like: SpatialImage, record: RunRecord | None
) -> None:
    """Write labels as the dataset "labels", with axes, voxel size and run record in its attributes.

    Args:
        path: the file.
        labels: of one volume or of a time series.
        like: whose voxel size the labels get.
        record: what made the labels.
    """
    chunks = tuple(min(size, 64) for size in labels.shape)
    with created(path) as file:
        dataset = file.create_dataset(_LABELS, data=labels, chunks=chunks, compression="gzip", shuffle=True)
        for dimension, name in zip(dataset.dims, "tzyx"[-labels.ndim :], strict=True):
            dimension.label = name
        if like.spacing is not None:
            dataset.attrs["element_size_um" if like.unit else "spacing"] = like.spacing
        if record is not None:
            dataset.attrs[_KEY] = record.to_json()


@contextmanager
def created(path: Path) -> Iterator[Any]:
    """Make an HDF5 file in memory, and write it at the end.

    HDF5 ends the process with a segmentation fault where its own writes meet a full disk.

    Args:
        path: the file.

    Yields:
        The file, opened by h5py.

    Raises:
        ImportError: h5py is not installed.
        OSError: the file cannot be written.
    """
    content = BytesIO()
    with _h5py().File(content, "w") as file:
        yield file
    path.write_bytes(content.getbuffer())


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 needs an extra package: pip install 'anystar_torch[hdf5]'") from error
    return h5py
