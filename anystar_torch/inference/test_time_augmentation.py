"""Test-time augmentation: the mean over the predictions of a volume and of its mirror images.

Rays have no mirror symmetry: a ray of the mirror image corresponds to a direction of the volume that is none of its
rays. The distance in that direction is interpolated linearly between the three rays around it, which leaves the
distances of a sphere unchanged. (Intersecting the flat triangle of the polyhedron instead would shrink every object, by
2 % of its diameter with 96 rays.)
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from anystar_torch.arrays import Triple
from anystar_torch.geometry.rays import Rays
from anystar_torch.network.stardist import Prediction

_RAYS_AT_A_TIME = 8  # bounds the memory of the interpolation


@dataclass(frozen=True)
class Mirror:
    """A mirror image of the volume.

    Attributes:
        axes: reversed axes, out of 0, 1, 2 (z, y, x); empty for the volume itself.
        corners: for each ray of the volume, the three rays around its mirrored direction.
        weights: their weights; the three of a ray sum to 1.
    """

    axes: tuple[int, ...]
    corners: Int64[Tensor, "r 3"]
    weights: Float32[Tensor, "r 3"]

    @classmethod
    def of(cls, rays: Rays, axes: tuple[int, ...]) -> "Mirror":
        """The mirror of some axes, for the rays of a network.

        Args:
            rays: rays of the network; the result is on their device.
            axes: reversed axes, out of 0, 1, 2.
        """
        vertices = rays.vertices.cpu().numpy().astype(np.float64)
        faces = rays.faces.cpu().numpy()
        mirrored = vertices.copy()
        mirrored[:, list(axes)] *= -1
        shares = np.einsum("fij,rj->rfi", np.linalg.inv(vertices[faces].transpose(0, 2, 1)), mirrored)
        face = shares.min(axis=2).argmax(axis=1)  # in the triangle around a direction no share is negative
        weights = np.maximum(shares[np.arange(len(face)), face], 0)
        weights /= weights.sum(axis=1, keepdims=True)
        device = rays.vertices.device
        return cls(
            axes, torch.from_numpy(faces[face]).to(device), torch.from_numpy(weights).float().to(device)
        )

    def apply(self, image: Float32[Tensor, "b 1 _ _ _"], grid: Triple) -> Float32[Tensor, "b 1 _ _ _"]:
        """The mirror image, without the margin, such that its grid points are those of the image.

        Args:
            image: starts ``grid - 1`` voxels early on every axis.
            grid: subsampling of the prediction, (z, y, x).
        """
        for axis, step in enumerate(grid):
            size = image.shape[axis + 2] - (step - 1)
            image = image.narrow(axis + 2, 0 if axis in self.axes else step - 1, size)
        return image.flip([axis + 2 for axis in self.axes]) if self.axes else image

    def accumulate(self, mirrored: Prediction, total: Prediction, share: float | int) -> None:
        """Mirror a prediction back and add it to a total.

        Args:
            mirrored: prediction of the mirror image.
            total: sum of the predictions of the volume; changed in place.
            share: factor of the added prediction.
        """
        back = [axis + 2 for axis in self.axes]
        total.probability.add_(mirrored.probability.flip(back), alpha=share)
        if not self.axes:
            total.distances.add_(mirrored.distances, alpha=share)
            return
        for first in range(0, len(self.corners), _RAYS_AT_A_TIME):
            part = slice(first, first + _RAYS_AT_A_TIME)
            for k in range(3):
                along = mirrored.distances[:, self.corners[part, k]].flip(back)
                total.distances[:, part].addcmul_(
                    along, self.weights[part, k].view(1, -1, 1, 1, 1), value=share
                )


def all_mirrors(rays: Rays) -> list[Mirror]:
    """The identity and the seven mirrors of a volume.

    Args:
        rays: rays of the network; the result is on their device.
    """
    every = itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(4))
    return [Mirror.of(rays, axes) for axes in every]


def mean_over_mirrors(
    predict: Callable[[Tensor], Prediction],
    image: Float32[Tensor, "b 1 d h w"],
    mirrors: list[Mirror],
    grid: Triple,
) -> Prediction:
    """The mean of the predictions of all mirror images, for the image without its margin.

    Args:
        predict: the network.
        image: sizes that the network takes, and a margin of ``grid - 1`` voxels at the start of every axis.
        mirrors: the mirrors to average over.
        grid: subsampling of the prediction, (z, y, x).
    """
    total: Prediction | None = None
    for mirror in mirrors:
        mirrored = predict(mirror.apply(image, grid))
        if total is None:
            total = Prediction(torch.zeros_like(mirrored.probability), torch.zeros_like(mirrored.distances))
        mirror.accumulate(mirrored, total, 1 / len(mirrors))
    assert total is not None
    return total
