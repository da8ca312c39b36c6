"""Polyhedra for the tests of ops: random crowds, and the parity cases on disk."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from anystar_torch.geometry.rays import Rays


class Crowd(NamedTuple):
    points: Tensor
    distances: Tensor
    scores: Tensor
    rays: Rays


def random_crowd(
    seed: int, n: int, *, rays: Rays, extent: float = 16.0, radius: float = 4.0, roughness: float = 0.4
) -> Crowd:
    """Overlapping polyhedra with fractional centres; roughness 0.4 makes them far from convex."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(n, 3, generator=generator) * extent
    size = radius * (0.5 + torch.rand(n, 1, generator=generator))
    distances = size * (1 + roughness * torch.randn(n, len(rays), generator=generator)).clamp(0.1, 3.0)
    return Crowd(points, distances, torch.rand(n, generator=generator), rays)


class Parity(NamedTuple):
    """A stored run of StarDist: scores replay its processing order, survivors are its answers by threshold."""

    crowd: Crowd
    survivors: dict[float, set[int]]


def stored_rays(data: "np.lib.npyio.NpzFile", prefix: str = "rays") -> Rays:
    return Rays(
        torch.from_numpy(data[f"{prefix}_vertices"].astype(np.float32)),
        torch.from_numpy(data[f"{prefix}_faces"].astype(np.int64)),
    )


def load_parity(path: Path) -> Parity:
    with np.load(path) as data:
        points = torch.from_numpy(data["points"].astype(np.float32))
        distances = torch.from_numpy(data["dist"].astype(np.float32))
        scores = torch.empty(len(points))
        scores[torch.from_numpy(data["order"].astype(np.int64))] = torch.linspace(1, 0, len(points))
        kept = {float(key[5:]): set(data[key].tolist()) for key in data.files if key.startswith("kept_")}
        return Parity(Crowd(points, distances, scores, stored_rays(data)), kept)
