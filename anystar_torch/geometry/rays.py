"""The directions of a star-convex polyhedron and the triangles that close it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from scipy.spatial import ConvexHull
from torch import Tensor

_FEWEST = (
    5  # with four points a face of the spiral passes so close to the centre that the solid is nearly flat
)


@dataclass(frozen=True, eq=False)
class Rays:
    """Unit directions in (z, y, x) and the triangles between their end points.

    Every triangle (a, b, c) is oriented outwards in a right-handed (x, y, z) frame, as mesh formats want it:
    with the coordinates read as (z, y, x) rows its determinant is negative. StarDist does the same.

    Attributes:
        vertices: float32 ``[R, 3]``, directions in (z, y, x); of unit length, unless :meth:`scaled`.
        faces: int64 ``[F, 3]``, indices into ``vertices``; a closed surface, F = 2 R - 4.
        anisotropy: relative voxel shape (z, y, x) the directions were spread for.
    """

    vertices: Float32[Tensor, "r 3"]
    faces: Int64[Tensor, "f 3"]
    anisotropy: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @classmethod
    def golden_spiral(cls, n: int, anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0)) -> "Rays":
        """``n`` directions spread evenly over the sphere along a spiral of golden angle, poles included.

        The same points as StarDist's ``Rays_GoldenSpiral`` (Weigert et al., WACV 2020), to float32 rounding.

        Args:
            n: number of rays, at least 5.
            anisotropy: relative voxel shape (z, y, x), positive: the directions get sparser along an axis
                whose voxels are longer.

        Raises:
            ValueError: fewer than 5 rays, or an anisotropy that is not three positive finite numbers.
        """
        if n < _FEWEST:
            raise ValueError(f"a polyhedron needs at least {_FEWEST} rays, got {n}")
        shape = np.asarray(anisotropy, dtype=np.float64)
        if shape.shape != (3,) or not np.isfinite(shape).all() or (shape <= 0).any():
            raise ValueError(f"anisotropy must be three positive numbers (z, y, x), got {anisotropy}")
        z = np.linspace(-1.0, 1.0, n)
        azimuth = np.arange(n) * ((3.0 - np.sqrt(5.0)) * np.pi)
        radius = np.sqrt(1.0 - z**2)
        points = np.stack([z, radius * np.sin(azimuth), radius * np.cos(azimuth)], axis=1) / shape
        faces = _outward(points, ConvexHull(points).simplices)
        directions = points / np.linalg.norm(points, axis=1, keepdims=True)
        return cls(
            torch.from_numpy(directions.astype(np.float32)),
            torch.from_numpy(faces.astype(np.int64)),
            (float(shape[0]), float(shape[1]), float(shape[2])),
        )

    def __len__(self) -> int:
        return self.vertices.shape[0]

    @property
    def config(self) -> dict[str, Any]:
        """What :meth:`golden_spiral` needs to make these rays again, as plain JSON values."""
        return {"n": len(self), "anisotropy": list(self.anisotropy)}

    def to(self, device: torch.device | str) -> "Rays":
        """The same rays on ``device``."""
        return replace(self, vertices=self.vertices.to(device), faces=self.faces.to(device))

    def scaled(self, factors: Sequence[float | int]) -> "Rays":
        """Rays that span, with the same distances, the polyhedra of a volume resampled by ``factors``.

        The vertices are multiplied by the positive factors (z, y, x): they lose their unit length, faces stay
        outward.
        """
        if len(factors) != 3 or not all(0 < f < float("inf") for f in factors):
            raise ValueError(f"factors must be three positive numbers (z, y, x), got {factors}")
        columns = [self.vertices[:, axis] * factor for axis, factor in enumerate(factors)]
        return replace(self, vertices=torch.stack(columns, dim=1))

    def volume(self, distances: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch"]:
        """Volume in voxels of the polyhedra with these ``distances`` ``[..., R]`` in voxels; ``[...]``.

        The sum of the signed tetrahedra (centre, face). A tetrahedron's volume is the product of its three
        distances and a number that depends on the directions only.
        """
        self._check(distances)
        a, b, c = (corner.to(distances.dtype) for corner in self.vertices[self.faces].unbind(1))
        unit = (_cross(a, b) * c).sum(-1) / -6.0  # minus: (z, y, x) rows are left-handed
        i, j, k = (distances[..., column] for column in self.faces.unbind(1))
        return (i * j * k * unit).sum(-1)

    def surface(self, distances: Float[Tensor, "*batch r"]) -> Float[Tensor, "*batch"]:
        """Surface in square voxels of the polyhedra with these ``distances`` ``[..., R]`` in voxels."""
        self._check(distances)
        ends = distances.unsqueeze(-1) * self.vertices.to(distances.dtype)
        a, b, c = (ends[..., column, :] for column in self.faces.unbind(1))
        normal = _cross(b - a, c - a)
        return normal.square().sum(-1).sqrt().sum(-1) * 0.5

    def _check(self, distances: Tensor) -> None:
        if distances.ndim == 0 or distances.shape[-1] != len(self):
            raise ValueError(
                f"distances must be [..., {len(self)}], one per ray, got {tuple(distances.shape)}"
            )


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """The cross product over the last axis, written out."""
    (a0, a1, a2), (b0, b1, b2) = a.unbind(-1), b.unbind(-1)
    return torch.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], dim=-1)


def _outward(points: Float64[np.ndarray, "n 3"], faces: Int[np.ndarray, "f 3"]) -> Int[np.ndarray, "f 3"]:
    """The hull's triangles, each turned so that its normal points away from the centre in (x, y, z)."""
    inward = np.linalg.det(points[faces]) > 0
    return np.where(inward[:, None], faces[:, ::-1], faces)
