"""Files of a result: labels, table, meshes and candidates, by the ending of the name."""

from pathlib import Path
from typing import Any

import numpy as np

from anystar_torch import io
from anystar_torch.inference.object_table import COLUMNS, object_meshes, object_table
from anystar_torch.napari.features import measure
from anystar_torch.napari.points_table import rows_of
from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.segmentation import candidates_record, save
from anystar_torch.system.wording import number_of

ENDINGS = (
    "Labels (*.tif *.tiff *.ome.tif *.nii.gz *.nii *.nrrd *.mha *.npy *.zarr *.h5);;"
    "Table of the objects (*.csv);;Candidates for anystar relabel (*.npz);;Meshes (*.ply)"
)
"""What a file dialog offers."""


def default_name(shown: ResultLayer) -> Path:
    """Where ``anystar predict`` would write the labels.

    Args:
        shown: the result.
    """
    source = shown.result.place.source
    return io.beside(source.path or Path(f"{Path(source.name).stem}.tif"))


def save_result(shown: ResultLayer, path: Path) -> str:
    """Write a result as ``anystar predict`` would.

    Labels and the table hold all time points. Candidates and meshes are those of the present one.

    Args:
        shown: the result.
        path: ``.csv`` for a table, ``.npz`` for candidates, ``.ply`` for meshes; any other ending for labels.

    Returns:
        One line on what was written.

    Raises:
        ValueError: the file cannot be written or is that of the image, or meshes of corrected labels were asked for.
    """
    source = shown.result.place.source
    io.spare([] if source.path is None else [source.path], [path])
    _complete(shown)
    shown.update_features()  # napari's own tools and undo change labels without measuring them
    several = len(shown.result.live) > 1
    present = f" of time point {shown.frame}" if several else ""
    ending = path.suffix.lower()
    if ending == ".npz":
        prob, nms = shown.result.thresholds
        record = candidates_record(shown.result, shown.frame)
        shown.result.live[shown.frame].candidates.save(path, record)
        return f"{path}: candidates{present}, for anystar relabel --prob-thresh {prob:g} --nms-thresh {nms:g}"
    if ending == ".ply":
        return f"{path}: {number_of(_save_meshes(shown, path), 'object')}{present}"
    count = _save_table(shown, path) if ending == ".csv" else _save_labels(shown, path)
    return f"{path}: {number_of(count, 'object')}" + (
        f" in {len(shown.result.live)} time points" if several else ""
    )


def _complete(shown: ResultLayer) -> None:
    """Bring all time points to the present thresholds, except those that were corrected by hand."""
    now = shown.frame
    for frame in shown.result.live:
        if shown.stale(frame):
            shown.show(frame, shown.result.objects(frame))
    shown.frame = now


def _save_meshes(shown: ResultLayer, path: Path) -> int:
    """Write the meshes of the present time point, and return their number."""
    if shown.corrected:
        raise ValueError("corrected labels are no polyhedra; save labels, or undo the corrections")
    found = shown.result.objects(shown.frame)
    vertices = object_meshes(found, shown.result.place.source.spacing[0] or (1, 1, 1))
    io.write_meshes(path, vertices, found.rays.faces.numpy())
    return len(found)


def _save_labels(shown: ResultLayer, path: Path) -> int:
    """Write the labels of all time points, and return the number of objects."""
    frames = sorted(shown.result.live)
    volumes = [shown.volume(frame) for frame in frames]
    labels = np.ascontiguousarray(volumes[0] if len(volumes) == 1 else np.stack(volumes), np.int32)
    kept = [
        f"frame {frame}: it was corrected at other thresholds, and kept"
        for frame in frames
        if shown.needs(frame)
    ]
    save(shown.result, labels, path, (*shown.notes(), *kept))
    return sum(int(np.count_nonzero(np.unique(volume))) for volume in volumes)


def _save_table(shown: ResultLayer, path: Path) -> int:
    """Write the table of all time points, and return the number of its rows.

    It is the table of ``anystar predict``; of corrected labels, the features of the layer.
    """
    result, corrected = shown.result, shown.corrected
    spacing, unit = result.place.source.spacing
    several = len(result.live) > 1
    rows: list[dict[str, Any]] = []
    columns: dict[str, type] = {}
    for frame in sorted(result.live):
        if corrected:
            measured = measure(shown.volume(frame), shown.scores(frame), spacing, unit)
            found, columns = rows_of(measured), dict.fromkeys(measured, str)
        else:
            image = np.asarray(result.segmenter.opened(result.targets[frame]).voxels)
            found, columns = object_table(result.objects(frame), image, spacing, unit), COLUMNS
        rows += [{"frame": frame, **row} for row in found] if several else found
    io.write_table(path, rows, {"frame": int, **columns} if several else columns)
    return len(rows)
