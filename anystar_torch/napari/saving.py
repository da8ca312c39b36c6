"""Files of a result: labels, table, meshes and candidates, by the ending of the name."""

from pathlib import Path

import numpy as np

from anystar_torch import io
from anystar_torch.inference.object_table import COLUMNS, object_meshes, object_table
from anystar_torch.napari.points_table import rows_of
from anystar_torch.napari.result_layer import ResultLayer
from anystar_torch.napari.segmentation import save

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

    Args:
        shown: the result.
        path: ``.csv`` for a table, ``.npz`` for candidates, ``.ply`` for meshes; any other ending for labels.

    Returns:
        One line on what was written.

    Raises:
        ValueError: the file cannot be written, or meshes of corrected labels were asked for.
    """
    shown.complete()
    ending = path.suffix.lower()
    if ending == ".csv":
        _save_table(shown, path)
    elif ending == ".npz":
        prob, nms = shown.result.thresholds
        record = shown.result.finished_record()
        shown.result.live[shown.frame].candidates.save(path, record)
        return f"{path}: candidates, for anystar relabel --prob-thresh {prob:g} --nms-thresh {nms:g}"
    elif ending == ".ply":
        if shown.corrected:
            raise ValueError("corrected labels are no polyhedra; save labels, or undo the corrections")
        found = shown.result.objects(shown.frame)
        vertices = object_meshes(found, shown.result.place.source.spacing[0] or (1, 1, 1))
        io.write_meshes(path, vertices, found.rays.faces.numpy())
    else:
        frames = sorted(shown.result.live)
        volumes = [shown.volume(frame) for frame in frames]
        labels = np.ascontiguousarray(volumes[0] if len(volumes) == 1 else np.stack(volumes), np.int32)
        save(shown.result, labels, path, shown.notes())
    return f"{path}: {len(shown.columns['index'])} objects"


def _save_table(shown: ResultLayer, path: Path) -> None:
    """The table of ``anystar predict``; of corrected labels, the features of the layer."""
    result = shown.result
    spacing, unit = result.place.source.spacing
    if shown.corrected:
        io.write_table(path, rows_of(shown.columns), dict.fromkeys(shown.columns, str))
        return
    image = np.asarray(result.segmenter.opened(result.targets[shown.frame]).voxels)
    io.write_table(path, object_table(result.objects(shown.frame), image, spacing, unit), COLUMNS)
