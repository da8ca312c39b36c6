"""Suppression in rounds finds the survivors of one suppression, for any order of arrival."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.suppression_in_rounds import SuppressionInRounds
from tests.geometry.cases import random_crowd

RAYS = Rays.golden_spiral(32)


def in_slabs(crowd, count, extent):
    """The candidates of slabs along z, each with the boxes of the slabs to come."""
    edges = torch.linspace(0, extent, count + 1)
    for k in range(count):
        inside = (crowd.points[:, 0] >= edges[k]) & (crowd.points[:, 0] < edges[k + 1])
        low, high = edges[k + 1 : -1].floor(), edges[k + 2 :].ceil()
        boxes = torch.zeros(len(low), 2, 3)
        boxes[:, 1] = extent
        boxes[:, 0, 0], boxes[:, 1, 0] = low, high
        yield inside.nonzero()[:, 0], boxes.int()


def rounds(crowd, thresh, count, extent):
    suppression = SuppressionInRounds(crowd.rays, thresh)
    order, undecided = [], []
    for places, unfinished in in_slabs(crowd, count, extent):
        suppression.add(crowd.points[places], crowd.distances[places], crowd.scores[places])
        undecided.append((suppression.settle(unfinished), len(suppression)))
        order.append(places)
    keep = torch.zeros(len(crowd.points), dtype=torch.bool)
    keep[torch.cat(order)] = suppression.finish()
    return keep, undecided


@pytest.mark.long
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), slabs=st.integers(1, 9), thresh=st.sampled_from([0.0, 0.2, 0.4, 0.8]))
def test_the_survivors_are_those_of_one_suppression(seed, slabs, thresh):
    crowd = random_crowd(seed, 250, rays=RAYS, extent=40.0, radius=3.0)
    keep, _ = rounds(crowd, thresh, slabs, 40)
    assert torch.equal(keep, ops.nms(*crowd, thresh))


def test_most_candidates_are_decided_before_the_last_arrive():
    crowd = random_crowd(3, 3000, rays=RAYS, extent=120.0, radius=3.0)
    keep, undecided = rounds(crowd, 0.3, 8, 120)
    assert torch.equal(keep, ops.nms(*crowd, 0.3))
    left, seen = undecided[-2]
    assert left < 0.3 * seen


def test_nothing_is_decided_that_the_next_slab_could_change():
    points = torch.tensor([[9.0, 5, 5], [11.0, 5, 5]])
    distances = torch.full((2, 32), 4.0)
    suppression = SuppressionInRounds(RAYS, 0.3)
    suppression.add(points[:1], distances[:1], torch.tensor([0.5]))
    assert suppression.settle(torch.tensor([[[10, 0, 0], [20, 10, 10]]])) == 1
    suppression.add(points[1:], distances[1:], torch.tensor([0.9]))
    assert suppression.finish().tolist() == [False, True]


def test_a_candidate_that_reaches_further_than_assumed_starts_all_anew():
    crowd = random_crowd(5, 200, rays=RAYS, extent=60.0, radius=2.0)
    giant = torch.full((1, 32), 50.0)
    suppression = SuppressionInRounds(RAYS, 0.3)
    suppression.add(crowd.points, crowd.distances, crowd.scores)
    assert suppression.settle(torch.tensor([[[100, 0, 0], [110, 60, 60]]])) == 0
    suppression.add(torch.tensor([[100.0, 30, 30]]), giant, torch.tensor([2.0]))
    together = [
        torch.cat(parts) for parts in zip(crowd[:2], (torch.tensor([[100.0, 30, 30]]), giant), strict=True)
    ]
    expected = ops.nms(*together, torch.cat([crowd.scores, torch.tensor([2.0])]), RAYS, 0.3)
    assert expected.sum() < 1 + ops.nms(*crowd, 0.3).sum()  # the giant does suppress some
    assert torch.equal(suppression.finish(), expected)


def test_survivors_beyond_the_cache_suppress_in_later_rounds():
    from anystar_torch.kernels import _native

    crowd = random_crowd(8, 400, rays=RAYS, extent=30.0, radius=3.0)
    first, second = (tuple(part[k::2].contiguous() for part in crowd[:3]) for k in range(2))
    vertices, faces = RAYS.vertices.numpy(), RAYS.faces.long().numpy()
    found = []
    for cache in (0, 1 << 30):
        work = _native.Suppression(*(a.numpy() for a in first), vertices, faces, 0.3, 2, cache_bytes=cache)
        states = []
        for again in (second, None):
            while work.advance(1.0) < 200:
                pass
            states.append(torch.empty(200, dtype=torch.uint8))
            work.read(states[-1].numpy())
            if again is not None:
                work.begin(*(a.numpy() for a in again), None)
        found.append(torch.cat(states))
    assert torch.equal(*found)
    assert (found[0][200:] == 1).sum() < ops.nms(*(a for a in second), RAYS, 0.3).sum()


def test_wrong_arrays_are_refused_and_leave_it_usable():
    suppression = SuppressionInRounds(RAYS, 0.3)
    with pytest.raises(ValueError, match="distances"):
        suppression.add(torch.zeros(2, 3), torch.ones(2, 7), torch.zeros(2))
    suppression.add(torch.zeros(1, 3), torch.ones(1, 32), torch.tensor([float("nan")]))
    with pytest.raises(ValueError, match="scores must be finite"):
        suppression.finish()
    assert len(suppression) == 1


def test_a_threshold_outside_of_its_range_is_refused():
    with pytest.raises(ValueError, match="nms_thresh"):
        SuppressionInRounds(RAYS, 1.5)
