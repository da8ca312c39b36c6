"""Label fields for the tests of kernels: blobs that touch, and what is unlikely but allowed."""

import numpy as np
import torch

from tests.geometry.test_distance_transform import random_labels

SHAPES = [(1, 1, 1), (1, 5, 70), (65, 3, 2), (6, 17, 23), (2, 1, 67), (9, 10, 11)]


def blobs(shape, samples=2, ids=4):
    """Int32 ``[B, 1, D, H, W]``: touching blobs, some labels in several pieces."""
    return torch.from_numpy(
        np.stack([random_labels(seed, shape, ids=ids, scale=1.5) for seed in range(samples)])
    )[:, None]


def salt_and_pepper(shape, density, ids=3):
    """Single voxels of several labels."""
    rng = np.random.default_rng(0)
    labels = np.where(rng.random(shape) < density, rng.integers(1, ids + 1, shape), 0)
    return torch.from_numpy(labels.astype(np.int32))[None, None]


def serpentine():
    """One object that winds through a plane."""
    labels = torch.zeros(1, 1, 3, 16, 32, dtype=torch.int32)
    labels[..., 1, ::2, :] = 4
    labels[..., 1, 1::4, -1] = 4
    labels[..., 1, 3::4, 0] = 4
    return labels


def adversarial():
    """Name -> labels."""
    small = blobs((5, 9, 21), samples=1)
    names = torch.tensor([0, 2**31 - 1, -(2**31), 65_537, 1], dtype=torch.int32)
    shape = (1, 1, 4, 5, 6)
    return {
        "background": torch.zeros(shape, dtype=torch.int32),
        "negative": torch.full(shape, -3, dtype=torch.int32),
        "one label": torch.full(shape, 7, dtype=torch.int32),
        "one label in one sample": torch.cat([small, torch.full_like(small, 5), small.clamp_max(1)]),
        "large and negative ids": names[small.long()],
        "every voxel its own": torch.arange(1, 121, dtype=torch.int32).view(shape),
        "the same slots": (torch.arange(1, 121, dtype=torch.int32) * 2**24).view(shape),
        "salt and pepper": salt_and_pepper((7, 11, 13), 0.4),
        "dense": salt_and_pepper((7, 11, 13), 1.0),
        "serpentine": serpentine(),
    }
