"""Time from *Preview* in the napari plugin to the layer of labels, for a real volume and the part in view.

    python -m benchmarks.preview [--models shipped FOLDER] [--volumes NAME ...] [--repeats 3]

The viewer has no canvas, and shows a middle plane of the volume. A view is the whole plane, or a square of three
diameters (*zoomed*). The first preview of a volume estimates the size of the objects. It is kept, so the next previews,
in other planes, take less. Voxels are those that the network processes, without those of the estimate.
"""

import argparse
import math
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from napari.components import ViewerModel

from anystar_torch.napari.models import SHIPPED
from anystar_torch.napari.state import State
from benchmarks.header import hash_of_weights
from benchmarks.real_volumes import volumes as real
from benchmarks.real_volumes.volumes import Volume
from benchmarks.report import Row, begin
from benchmarks.report import parser as common
from benchmarks.tile_voxels import counted_voxels

VOLUMES = ["bbbc050_train_Emb04_t401", "bio_cells3d_nuclei"]
VIEWS = {"whole plane": None, "zoomed": 3.0}
"""Width of the view in diameters; None for the full extent."""


def shown(volume: Volume, model: str) -> State:
    """A viewer with a volume, and the choices of a user who has not set the size."""
    viewer = ViewerModel()
    layer = viewer.add_image(
        volume.image, name=volume.name, axis_labels=("z", "y", "x"), scale=volume.spacing
    )
    return State(viewer, image=layer, model=model, device="cpu")


def zoom(state: State, volume: Volume, width: float | None) -> None:
    """Set the corners that the canvas of a viewer would set."""
    assert state.image is not None
    shape = np.array(volume.image.shape)
    if width is None:
        state.image.corner_pixels = np.stack([shape * 0, shape - 1])
        return
    half = np.array([math.ceil(width / 2 * volume.diameter)] * 3)
    state.image.corner_pixels = np.stack(
        [np.maximum(shape // 2 - half, 0), np.minimum(shape // 2 + half, shape - 1)]
    )


def preview(state: State, plane: float) -> tuple[float, int]:
    """Seconds of one preview at a plane (a share of the depth), and its number of objects."""
    assert state.image is not None
    depth = state.volume().shape[0]
    state.viewer.dims.set_point(0, round(plane * (depth - 1)) * float(state.image.scale[0]))
    began = time.perf_counter()
    target, view, segmenter = state.target(), state.view(), state.segmenter()
    config = segmenter.model.config
    found = segmenter.preview(target, state.diameter, view, (config.prob_thresh, config.nms_thresh))
    state.add_preview(found, target.volume, target.channel)
    return time.perf_counter() - began, len(found.found)


def rows_of(volume: Volume, model: str, repeats: int) -> Iterator[Row]:
    """One row per view."""
    state = shown(volume, model)
    for name, width in VIEWS.items():
        state.forget()
        zoom(state, volume, width)
        first, _ = preview(state, 0.5)
        planes = np.linspace(0.4, 0.6, repeats)
        runs = []
        for plane in planes:
            with counted_voxels() as voxels:
                runs.append(preview(state, plane))
        yield {
            "model": model,
            "weights": hash_of_weights(None if model == SHIPPED else model),
            "view": name,
            "network voxels": sum(voxels),
            "objects": runs[-1][1],
            "first preview, s": first,
            "next previews, s": statistics.median(seconds for seconds, _ in runs),
        }


def parser() -> argparse.ArgumentParser:
    """The options of this command."""
    made = common(__doc__, repeats=3)
    made.add_argument(
        "--models", nargs="+", default=[SHIPPED], help="model folders; shipped: the shipped weights"
    )
    made.add_argument("--data", type=Path, default=real.DATA)
    made.add_argument("--volumes", nargs="+", default=VOLUMES, help="names of folders in the data")
    return made


def main() -> None:
    """Measure every model, volume and view."""
    options = parser().parse_args()
    chosen = [volume for volume in real.read(options.data) if volume.name in options.volumes]
    if not chosen:
        raise SystemExit(f"{options.data} holds none of: {', '.join(options.volumes)}")
    report = begin(options, packages=("napari",))
    for volume in chosen:
        rows = [row for model in options.models for row in rows_of(volume, model, options.repeats)]
        report.table(f"{volume.name}, {' x '.join(map(str, volume.image.shape))}", rows)


if __name__ == "__main__":
    main()
