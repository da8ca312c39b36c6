"""The network asked about a volume and its mirror images, and what it says brought back and averaged.

Rays have no mirror symmetry: the distance along a ray in a mirror image is, in the volume, a distance along the
mirrored ray, which is none of the rays. It is interpolated linearly between the three rays around it, which leaves the
distances of a sphere as they are. (Where the flat triangle of the polyhedron is met would be nearer: every mirror image
would shrink the object, by 2 % of its diameter with 96 rays.)
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.scale import Triple
from anystar_torch.network.stardist import Prediction

_RAYS_AT_A_TIME = 8


@dataclass(frozen=True)
class Mirror:
    """A mirror image of the volume.

    Attributes:
        axes: of the volume that are reversed, out of 0, 1, 2 (z, y, x); none for the volume itself.
        corners: int64 ``[R, 3]``, the rays around each ray as the mirror shows it.
        weights: float32 ``[R, 3]``, their shares in it; they add up to one.
    """

    axes: tuple[int, ...]
    corners: Tensor
    weights: Tensor

    @classmethod
    def of(cls, rays: Rays, axes: tuple[int, ...]) -> "Mirror":
        """The mirror for these rays (on their device)."""
        vertices = rays.vertices.cpu().numpy().astype(np.float64)
        faces = rays.faces.cpu().numpy()
        turned = vertices.copy()
        turned[:, list(axes)] *= -1
        shares = np.einsum("fij,rj->rfi", np.linalg.inv(vertices[faces].transpose(0, 2, 1)), turned)
        face = shares.min(axis=2).argmax(
            axis=1
        )  # the triangle that a direction passes through has no negative share
        weights = np.maximum(shares[np.arange(len(face)), face], 0)
        weights /= weights.sum(axis=1, keepdims=True)
        device = rays.vertices.device
        return cls(
            axes, torch.from_numpy(faces[face]).to(device), torch.from_numpy(weights).float().to(device)
        )

    def show(self, image: Tensor, grid: Triple) -> Tensor:
        """What the mirror shows of ``image`` ``[B, 1, ...]``, which starts ``grid - 1`` voxels early on every axis.

        With that margin the grid points of the mirror image are those of the image.
        """
        for axis, step in enumerate(grid):
            size = image.shape[axis + 2] - (step - 1)
            image = image.narrow(axis + 2, 0 if axis in self.axes else step - 1, size)
        return image.flip([axis + 2 for axis in self.axes]) if self.axes else image

    def add(self, seen: Prediction, total: Prediction, share: float | int) -> None:
        """Adds ``share`` of what was seen in the mirror to ``total``, as it is in the volume."""
        back = [axis + 2 for axis in self.axes]
        total.probability.add_(seen.probability.flip(back), alpha=share)
        if not self.axes:
            total.distances.add_(seen.distances, alpha=share)
            return
        for first in range(0, len(self.corners), _RAYS_AT_A_TIME):
            part = slice(first, first + _RAYS_AT_A_TIME)
            for k in range(3):
                along = seen.distances[:, self.corners[part, k]].flip(back)
                total.distances[:, part].addcmul_(
                    along, self.weights[part, k].view(1, -1, 1, 1, 1), value=share
                )


def mirrors(rays: Rays) -> list[Mirror]:
    """The volume itself, and its seven mirror images."""
    every = itertools.chain.from_iterable(itertools.combinations(range(3), n) for n in range(4))
    return [Mirror.of(rays, axes) for axes in every]


def averaged(
    look: Callable[[Tensor], Prediction], image: Tensor, views: list[Mirror], grid: Triple
) -> Prediction:
    """The mean of what ``look`` says of an image and its mirror images.

    Args:
        look: the network.
        image: ``[B, 1, D + gz - 1, H + gy - 1, W + gx - 1]``: sizes the network takes, and a margin at the start.
        views: mirrors to look into.
        grid: subsampling of the prediction (gz, gy, gx).

    Returns:
        Probability and distances of the image without its margin.
    """
    total: Prediction | None = None
    for view in views:
        seen = look(view.show(image, grid))
        if total is None:
            total = Prediction(torch.zeros_like(seen.probability), torch.zeros_like(seen.distances))
        view.add(seen, total, 1 / len(views))
    assert total is not None
    return total
