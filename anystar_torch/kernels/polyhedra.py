"""References of the kernels of suppression and rendering: their definition in slow torch operators.

Only tests call these functions.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float32, Int32, Int64
from torch import Tensor

ON_FACET = 1e-9
"""A voxel centre beyond a facet by at most this share of its distance lies on the facet, and so inside."""


Voxels = set[tuple[int, int, int]]


@runtime_checkable
class Polyhedron(Protocol):
    """Directions and triangles, as :class:`anystar_torch.geometry.rays.Rays` has them."""

    @property
    def vertices(self) -> Float32[Tensor, "rays 3"]:
        """``[R, 3]``, directions (z, y, x)."""

    @property
    def faces(self) -> Int64[Tensor, "faces 3"]:
        """``[F, 3]``, indices into ``vertices``."""


def volume(distances: Float32[Tensor, " rays"], rays: Polyhedron) -> float:
    """Analytic volume of one polyhedron in voxels: the sum of its tetrahedra (centre, face).

    Args:
        distances: ``[R]``, lengths along the rays, voxels, positive.
        rays: directions and triangles of the polyhedra; R of them.
    """
    corners = (rays.vertices.double() * distances.double()[:, None])[rays.faces.long()]
    return float(torch.linalg.det(corners).abs().sum() / 6)


def inside(
    voxels: Int64[Tensor, "m 3"],
    point: Float32[Tensor, "3"],
    distances: Float32[Tensor, " rays"],
    rays: Polyhedron,
) -> Bool[Tensor, " m"]:
    """Whether voxel centres lie in the closed polyhedron: in any of its tetrahedra (centre, face).

    With q = voxel - point written as a u_a + b u_b + c u_c in the directions of a face, q is in the tetrahedron when
    a, b, c >= 0 and a / d_a + b / d_b + c / d_c <= 1.

    Args:
        voxels: ``[M, 3]``, (z, y, x).
        point: ``[3]``, centre of the polyhedron (z, y, x), voxels.
        distances: ``[R]``, lengths along the rays, voxels, positive.
        rays: directions and triangles of the polyhedra; R of them.
    """
    corners = rays.vertices.double()[rays.faces.long()]
    coefficients = torch.einsum("mk,fkc->mfc", voxels.double() - point.double(), torch.linalg.inv(corners))
    shares = coefficients / distances.double()[rays.faces.long()]
    slack = ON_FACET * shares.abs().amax(-1)
    in_tetrahedron = (shares.amin(-1) >= -slack) & (shares.sum(-1) <= 1 + ON_FACET)
    return in_tetrahedron.any(-1)


def voxels_inside(
    point: Float32[Tensor, "3"], distances: Float32[Tensor, " rays"], rays: Polyhedron
) -> Int64[Tensor, "m 3"]:
    """All voxels (z, y, x) whose centres lie in the polyhedron.

    Args:
        point: ``[3]``, centre of the polyhedron (z, y, x), voxels.
        distances: ``[R]``, lengths along the rays, voxels, positive.
        rays: directions and triangles of the polyhedra; R of them.
    """
    corners = point.double() + distances.double()[:, None] * rays.vertices.double()
    low, high = corners.amin(0).floor().long().tolist(), corners.amax(0).ceil().long().tolist()
    axes = [torch.arange(first, last + 1) for first, last in zip(low, high, strict=True)]
    box = torch.cartesian_prod(*axes)
    return box[inside(box, point, distances, rays)]


def overlap(voxels_a: Voxels, volume_a: float, voxels_b: Voxels, volume_b: float) -> float:
    """Voxels inside both polyhedra, over the smaller analytic volume.

    Args:
        voxels_a: voxels (z, y, x) inside of one polyhedron.
        volume_a: its analytic volume, voxels, positive.
        voxels_b: voxels (z, y, x) inside of the other polyhedron.
        volume_b: its analytic volume, voxels, positive.
    """
    return len(voxels_a & voxels_b) / min(volume_a, volume_b)


def processing_order(
    points: Float32[Tensor, "n 3"], distances: Float32[Tensor, "n rays"], scores: Float32[Tensor, " n"]
) -> list[int]:
    """Indices by falling score, then rising z, y, x, then rising distances.

    Args:
        points: ``[N, 3]``, centres (z, y, x), voxels.
        distances: ``[N, R]``, lengths along the rays, voxels, positive.
        scores: ``[N]``; higher is better.
    """
    keys = torch.cat([-scores.double()[:, None], points.double(), distances.double()], dim=1).tolist()
    return sorted(range(len(keys)), key=keys.__getitem__)


def nms(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    scores: Float32[Tensor, " n"],
    rays: Polyhedron,
    nms_thresh: float,
) -> Bool[Tensor, " n"]:
    """The definition of :func:`anystar_torch.geometry.suppression.nms`.

    Args:
        points: ``[N, 3]``, centres (z, y, x), voxels.
        distances: ``[N, R]``, lengths along the rays, voxels, positive.
        scores: ``[N]``; higher is better.
        rays: directions and triangles of the polyhedra; R of them.
        nms_thresh: largest overlap that survives, in [0, 1].
    """
    voxels = [
        set(map(tuple, voxels_inside(*pair, rays).tolist())) for pair in zip(points, distances, strict=True)
    ]
    volumes = [volume(each, rays) for each in distances]
    kept: list[int] = []
    for j in processing_order(points, distances, scores):
        if all(overlap(voxels[i], volumes[i], voxels[j], volumes[j]) <= nms_thresh for i in kept):
            kept.append(j)
    keep = torch.zeros(points.shape[0], dtype=torch.bool)
    keep[kept] = True
    return keep


def render_labels(
    points: Float32[Tensor, "n 3"],
    distances: Float32[Tensor, "n rays"],
    rays: Polyhedron,
    shape: Sequence[int],
) -> Int32[Tensor, "d h w"]:
    """The definition of :func:`anystar_torch.geometry.rendering.render_labels`.

    Args:
        points: ``[N, 3]``, centres (z, y, x), voxels.
        distances: ``[N, R]``, lengths along the rays, voxels, positive.
        rays: directions and triangles of the polyhedra; R of them.
        shape: (D, H, W) of the volume, voxels.
    """
    voxels = torch.cartesian_prod(*(torch.arange(size) for size in shape))
    labels = torch.zeros(len(voxels), dtype=torch.int32)
    for i in reversed(range(points.shape[0])):
        labels[inside(voxels, points[i], distances[i], rays)] = i + 1
    return labels.view(*shape)
