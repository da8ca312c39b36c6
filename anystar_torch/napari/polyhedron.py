"""The polyhedron that the network predicts at one voxel."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32

from anystar_torch.arrays import Triple
from anystar_torch.geometry.ops import render_labels
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference import stages
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.napari.layer_volume import Box

_SMALLEST = 1e-3  # voxels: shorter distances are raised to it, as for candidates


@dataclass(frozen=True)
class Polyhedron:
    """A star-convex object in input voxels.

    Attributes:
        point: its centre (z, y, x).
        distances: along ``rays``.
        rays: unit directions in the input.
        probability: what the network predicts at the centre.
    """

    point: Float32[np.ndarray, " 3"]
    distances: Float32[np.ndarray, " r"]
    rays: Rays
    probability: float

    def mask(self, shape: Triple) -> tuple[Box, Bool[np.ndarray, "d h w"]]:
        """The box of a volume that holds the object, and its voxels in the box.

        Args:
            shape: of the volume.

        Raises:
            ValueError: the object lies outside of the volume.
        """
        corners = self.point + self.distances[:, None] * self.rays.vertices.cpu().numpy()
        low = np.clip(np.floor(corners.min(0)).astype(int), 0, shape)
        high = np.clip(np.ceil(corners.max(0)).astype(int) + 1, 0, shape)
        if (high <= low).any():
            raise ValueError("the object lies outside of the volume")
        inside = render_labels(
            torch.from_numpy((self.point - low).astype(np.float32))[None],
            torch.from_numpy(self.distances)[None],
            self.rays,
            [int(n) for n in high - low],
        )
        z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        return (z, y, x), inside.numpy() > 0


def polyhedron_at(
    volume: InputVolume, voxel: Sequence[float | int], diameter: float, settings: stages.Settings
) -> Polyhedron:
    """The network's polyhedron at the grid point that is closest to a voxel.

    Args:
        volume: the volume.
        voxel: (z, y, x) in input voxels.
        diameter: of the objects, in voxels of the finest axis.
        settings: the network and the options. Test-time augmentation is not used.
    """
    fine = stages.resample(volume, diameter, settings)
    tile_network = settings.tile_network
    network = tile_network.network
    grid = np.array(network.grid)
    place = (np.array(voxel) + 0.5) / fine.scaling.ratio - 0.5
    start, stop = _tile(place, tile_network.halo, network.divisor)
    image = fine.box(start, stop, tile_network.transfer)
    predicted = tile_network.forward(image, torch.float32)
    last = np.array(predicted.probability.shape[2:]) - 1
    z, y, x = np.clip(np.rint((place - start) / grid), 0, last).astype(int).tolist()
    distances = predicted.distances[0, :, z, y, x].float().cpu().numpy().clip(_SMALLEST)
    rays, growth = fine.scaling.rays(network.rays.to("cpu"))
    centre = (np.array([z, y, x]) * grid + start).astype(np.float32)
    point = fine.scaling.points(centre[None])[0]
    return Polyhedron(point, distances * growth, rays, float(predicted.probability[0, 0, z, y, x]))


def _tile(place: np.ndarray, halo: Triple, divisor: Triple) -> tuple[Triple, Triple]:
    """A tile around a place, whose start and size are multiples of the divisor, with the halo on both sides."""
    start = [math.floor((p - h) / d) * d for p, h, d in zip(place, halo, divisor, strict=True)]
    stop = [math.ceil((p + h + 1) / d) * d for p, h, d in zip(place, halo, divisor, strict=True)]
    return (start[0], start[1], start[2]), (stop[0], stop[1], stop[2])
