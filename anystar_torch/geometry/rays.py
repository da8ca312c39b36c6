"""Directions of star-convex polyhedra, and the triangles between the ends of the rays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from scipy.spatial import ConvexHull
from torch import Tensor

from anystar_torch.arrays import Spacing, three_positive

_FEWEST = 5
"""With 4 directions of the spiral one face passes so close to the centre that the polyhedron is nearly flat."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Unit directions in (z, y, x) and the triangles between their end points.

    Every triangle (a, b, c) is oriented outwards in a right-handed (x, y, z) frame, as mesh formats require. The
    determinant of its (z, y, x) rows is therefore negative. StarDist does the same.

    Attributes:
        vertices: float32 ``[R, 3]``, directions in (z, y, x), of unit length unless they are :meth:`scaled`.
        faces: int64 ``[F, 3]``, indices into ``vertices``; a closed surface, F = 2 R - 4.
        anisotropy: relative voxel shape (z, y, x) for which the directions were made.
    """

    vertices: Float32[Tensor, "r 3"]
    faces: Int64[Tensor, "f 3"]
    anisotropy: Spacing = (1.0, 1.0, 1.0)

    @classmethod
    def golden_spiral(cls, n: int, anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)) -> "Rays":
        """``n`` directions spread evenly over the sphere along a spiral of golden angle, poles included.

        The same points as StarDist's ``Rays_GoldenSpiral`` (Weigert et al., WACV 2020), to float32 rounding.

        Args:
            n: number of rays, at least 5.
            anisotropy: relative voxel shape (z, y, x), positive. Fewer directions point along an axis with longer
                voxels.

        Raises:
            ValueError: fewer than 5 rays, or an anisotropy that is not three positive finite numbers.

        Examples:
            >>> from anystar_torch import Rays
            >>> rays = Rays.golden_spiral(96)
            >>> rays.vertices.shape, rays.faces.shape
            (torch.Size([96, 3]), torch.Size([188, 3]))
        """
        if n < _FEWEST:
            raise ValueError(f"a polyhedron needs at least {_FEWEST} rays, got {n}")
        lengths = three_positive("anisotropy", anisotropy)
        z = np.linspace(-1.0, 1.0, n)
        azimuth = np.arange(n) * ((3.0 - np.sqrt(5.0)) * np.pi)
        radius = np.sqrt(1.0 - z**2)
        points = np.stack([z, radius * np.sin(azimuth), radius * np.cos(azimuth)], axis=1) / np.asarray(
            lengths
        )
        faces = _outward(points, ConvexHull(points).simplices)
        directions = points / np.linalg.norm(points, axis=1, keepdims=True)
        return cls(
            torch.from_numpy(directions.astype(np.float32)),
            torch.from_numpy(faces.astype(np.int64)),
            lengths,
        )

    def __len__(self) -> int:
        return self.vertices.shape[0]

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of :meth:`golden_spiral` that make these rays, as plain JSON values."""
        return {"n": len(self), "anisotropy": list(self.anisotropy)}

    def to(self, device: torch.device | str) -> "Rays":
        """The same rays on ``device``.

        Args:
            device: of the tensors of the new rays.
        """
        return replace(self, vertices=self.vertices.to(device), faces=self.faces.to(device))

    def scaled(self, factors: Sequence[float | int]) -> "Rays":
        """Rays that give, with the same distances, the polyhedra in a volume that was resampled.

        The vertices are multiplied by the factors and lose their unit length. Faces stay oriented outwards.

        Args:
            factors: new size over old size along (z, y, x), positive.

        Raises:
            ValueError: ``factors`` are not three positive finite numbers.
        """
        columns = [self.vertices[:, axis] * f for axis, f in enumerate(three_positive("factors", factors))]
        return replace(self, vertices=torch.stack(columns, dim=1))

    def volume(self, distances: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch"]:
        """Volume of polyhedra in voxels, ``[...]``.

        It is the sum of the signed volumes of the tetrahedra (centre, face). The volume of a tetrahedron is the product
        of its three distances and a number that depends on the directions only.

        Args:
            distances: ``[..., R]``, voxels.

        Raises:
            ValueError: the last axis has not one number per ray.
        """
        self._check(distances)
        a, b, c = (corner.to(distances.dtype) for corner in self.vertices[self.faces].unbind(1))
        unit = (_cross(a, b) * c).sum(-1) / -6.0  # minus: (z, y, x) rows are left-handed
        i, j, k = (distances[..., column] for column in self.faces.unbind(1))
        return (i * j * k * unit).sum(-1)

    def _check(self, distances: Tensor) -> None:
        if distances.ndim == 0 or distances.shape[-1] != len(self):
            raise ValueError(
                f"distances must be [..., {len(self)}], one per ray, got {tuple(distances.shape)}"
            )


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """Cross product over the last axis."""
    (a0, a1, a2), (b0, b1, b2) = a.unbind(-1), b.unbind(-1)
    return torch.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim=-1)


def _outward(points: Float64[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "f 3"]:
    """The triangles of the hull, each oriented so that its normal points away from the centre in (x, y, z)."""
    inward = np.linalg.det(points[faces]) > 0
    return np.where(inward[:, None], faces[:, ::-1], faces)
