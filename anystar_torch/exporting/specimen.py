"""A test volume for packages (bright ellipsoids of the trained size), and a cover picture."""

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anystar_torch.evaluation import outlines
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

_ACROSS = 3.2  # size of the volume in object diameters
_OFFSET, _GAIN, _NOISE = 100.0, 1000.0, 40.0  # intensities in the range of a camera


def specimen(network: StarDist, config: ModelConfig) -> NDArray[np.float32]:
    """The test volume ``[D, H, W]`` of a network, whose sizes are multiples of its divisor.

    It has nine objects, one in the centre and eight around it, with small fixed random shifts and scales. Voxels have
    the anisotropy of the rays.

    Args:
        network: defines the divisor and the anisotropy.
        config: defines the diameter.
    """
    random = np.random.default_rng(0)
    step = np.array(network.rays.anisotropy) / min(network.rays.anisotropy)
    diameter = config.diameter_band[1]
    shape = [
        int(-(-max(_ACROSS * diameter / s, d) // d) * d) for s, d in zip(step, network.divisor, strict=True)
    ]
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * step
    middle = 0.5 * (np.array(shape) - 1) * step
    nearest = np.full(shape, np.inf)
    for corner in ((0, 0, 0), *itertools.product((-1, 1), repeat=3)):
        centre = middle + (np.array(corner) + random.uniform(-0.05, 0.05, 3)) * diameter
        radii = 0.5 * diameter * random.uniform(0.85, 1.1, 3)
        nearest = np.minimum(nearest, np.sqrt((((place - centre) / radii) ** 2).sum(-1)))
    signal = 1 / (1 + np.exp((nearest - 1) * diameter))
    grey = _OFFSET + _GAIN * signal * (1.15 - 0.3 * np.minimum(nearest, 1)) + random.normal(0, _NOISE, shape)
    volume: NDArray[np.float32] = grey.astype(np.float32)
    return volume


def cover(path: Path, volume: NDArray[np.float32], labels: NDArray[np.int32]) -> None:
    """Write a picture of the plane with most objects, without and with their outlines.

    Args:
        path: of the picture (.png), which is twice as wide as high.
        volume: ``[D, H, W]``.
        labels: ``[D, H, W]``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

    z = outlines.best_planes(labels, volume)[0]
    low, high = np.percentile(volume, (0.5, 99.8))
    figure = Figure((8, 4))
    FigureCanvasAgg(figure)
    for left, drawn in ((0.0, []), (0.5, outlines.contours(labels[z]))):
        panel = figure.add_axes((left, 0.0, 0.5, 1.0))
        panel.imshow(volume[z], cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="nearest")
        panel.set_axis_off()
        for label, lines in drawn:
            panel.add_collection(LineCollection(lines, colors=[outlines.colour(label)], linewidths=1.5))
    figure.savefig(path, dpi=100)
