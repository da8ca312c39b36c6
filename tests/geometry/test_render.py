"""Rendering against its definition in torch, and StarDist's stored renderings."""

from pathlib import Path

import numpy as np
import pytest
import torch

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import polyhedra as reference
from tests.geometry.cases import random_crowd, stored_rays


@pytest.mark.parametrize("anisotropy", [(1, 1, 1), (3, 1, 1.5)])
def test_equals_the_definition_clipped_at_the_faces(anisotropy: tuple[float, ...]) -> None:
    crowd = random_crowd(1, 12, rays=Rays.golden_spiral(24, anisotropy), extent=14)
    shape = (12, 13, 11)
    labels = ops.render_labels(crowd.points - 1, crowd.distances, crowd.rays, shape)
    assert len(labels.unique()) > 8
    assert torch.equal(labels, reference.render_labels(crowd.points - 1, crowd.distances, crowd.rays, shape))


def test_rows_longer_than_a_machine_word() -> None:
    crowd = random_crowd(2, 2, rays=Rays.golden_spiral(16), extent=6, radius=90)
    points = crowd.points + torch.tensor([2.0, 2.0, 70.0])
    labels = ops.render_labels(points, crowd.distances, crowd.rays, (5, 6, 150))
    assert torch.equal(labels, reference.render_labels(points, crowd.distances, crowd.rays, (5, 6, 150)))


def test_centres_on_the_surface_are_inside() -> None:
    octahedron = Rays(
        torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]]),
        torch.tensor(
            [[0, 2, 4], [0, 4, 3], [0, 3, 5], [0, 5, 2], [1, 4, 2], [1, 3, 4], [1, 5, 3], [1, 2, 5]]
        ),
    )
    labels = ops.render_labels(torch.full((1, 3), 4.0), torch.full((1, 6), 3.0), octahedron, (9, 9, 9))
    z, y, x = torch.meshgrid(*[torch.arange(9) - 4] * 3, indexing="ij")
    assert torch.equal(labels, (z.abs() + y.abs() + x.abs() <= 3).int())


def test_equals_stardist(shared_data: Path) -> None:
    with np.load(shared_data / "parity" / "polyhedron_to_label.npz") as data:
        for name, prefix in (("nuc", "rays"), ("crowd", "rays64")):
            order = np.argsort(-data[f"{name}_prob"], kind="stable")
            points = torch.from_numpy(data[f"{name}_points"].astype(np.float32)[order])
            distances = torch.from_numpy(data[f"{name}_dist"][order])
            expected = data[f"{name}_lbl_full"]
            got = ops.render_labels(points, distances, stored_rays(data, prefix), expected.shape).numpy()
            ids = np.concatenate([[0], order + 1])  # StarDist's ids count in the order of its input
            np.testing.assert_array_equal(ids[got], expected)


def test_empty_sets_and_volumes() -> None:
    crowd = random_crowd(3, 2, rays=Rays.golden_spiral(16))
    empty = ops.render_labels(crowd.points[:0], crowd.distances[:0], crowd.rays, (2, 3, 4))
    assert empty.shape == (2, 3, 4)
    assert not empty.any()
    assert ops.render_labels(*crowd[:2], crowd.rays, (2, 0, 4)).shape == (2, 0, 4)
