"""Voxels that two polyhedra share equal those of the reference, and decide what the suppression decides."""

import numpy as np
import pytest
import torch

from anystar_torch.geometry import ops
from anystar_torch.geometry.overlaps import shared_voxels
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels.polyhedra import volume, voxels_inside
from tests.geometry.cases import random_crowd

RAYS = Rays.golden_spiral(16)


def all_pairs(count):
    return torch.cartesian_prod(torch.arange(count), torch.arange(count))


@pytest.mark.parametrize("threads", [1, 3])
def test_shared_voxels_are_those_of_the_reference(threads):
    crowd = random_crowd(0, 9, rays=RAYS, extent=8.0, radius=2.5)
    torch.set_num_threads(threads)
    try:
        shared, smaller = shared_voxels(crowd.points, crowd.distances, RAYS, all_pairs(9))
    finally:
        torch.set_num_threads(1)
    inside = [
        set(map(tuple, voxels_inside(*one, RAYS).tolist()))
        for one in zip(crowd.points, crowd.distances, strict=True)
    ]
    volumes = [volume(one, RAYS) for one in crowd.distances]
    assert shared.tolist() == [len(a & b) for a in inside for b in inside]
    assert (shared == 0).any()
    assert (shared > 0).any()
    assert np.allclose(smaller.numpy(), [min(a, b) for a in volumes for b in volumes], rtol=1e-12)


def test_two_candidates_are_decided_as_their_overlap_says():
    crowd = random_crowd(1, 60, rays=RAYS, extent=12.0, radius=3.0)
    for thresh in (0.0, 0.3, 0.7):
        for i in range(0, 60, 2):
            pair = [column[i : i + 2] for column in crowd[:3]]
            shared, smaller = shared_voxels(pair[0], pair[1], RAYS, torch.tensor([[0, 1]]))
            both_stay = not bool(shared > thresh * smaller)
            assert bool(ops.nms(*pair, RAYS, thresh).all()) == both_stay


def test_wrong_pairs_are_refused():
    crowd = random_crowd(2, 4, rays=RAYS)
    for pairs in (torch.tensor([[0, 4]]), torch.tensor([[-1, 0]])):
        with pytest.raises(ValueError, match="pairs must index points"):
            shared_voxels(crowd.points, crowd.distances, RAYS, pairs)
    shared, smaller = shared_voxels(crowd.points, crowd.distances, RAYS, torch.zeros(0, 2, dtype=torch.int64))
    assert len(shared) == len(smaller) == 0
