"""A small annotated volume, and a small model that fine-tunings of tests start from."""

from pathlib import Path

import numpy as np
import tifffile
import torch
from scipy import ndimage

from anystar_torch.network import weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from tests.training.test_annotation import ball


def volume():
    """Twelve bright balls of 9 to 11 voxels in noise."""
    rng = np.random.default_rng(1)
    labels = np.zeros((24, 28, 90), np.uint8)
    for number in range(12):
        row, column = divmod(number, 6)
        ball(
            labels,
            number + 1,
            (12 + rng.integers(-3, 4), 7 + 14 * row, 8 + 14 * column),
            rng.uniform(4.5, 5.5),
        )
    image = ndimage.gaussian_filter((labels > 0) * 1.0, 0.7) + rng.normal(0, 0.05, labels.shape)
    return (1000 * (image + 1)).astype(np.uint16), labels


def write_start(folder: Path, anisotropy: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Path:
    """Write image, labels, and in ``start`` a model that has learned nothing; returns the folder."""
    image, labels = volume()
    tifffile.imwrite(folder / "a.tif", image)
    tifffile.imwrite(folder / "a_labels.tif", labels)
    torch.manual_seed(0)
    network = StarDist(
        rays=16,
        anisotropy=anisotropy,
        grid=(2, 2, 2),
        features=16,
        backbone=UNetBackbone(filters=8, depth=1, batch_norm=True),
    )
    config = weights.ModelConfig(
        architecture=network.architecture,
        normalisation="clipped",
        diameter_band=(5.0, 10.0, 15.0),
        prob_thresh=0.4,
        nms_thresh=0.3,
        receptive_field=(40, 40, 40),  # not the one of a trained network
    )
    weights.save(folder / "start", network.eval(), config)
    return folder
