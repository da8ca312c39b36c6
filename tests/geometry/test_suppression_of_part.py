"""Suppression part by part, in rounds, finds the survivors of one suppression; boxes are drawn like whole volumes."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import ops
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.rendering import render_box
from anystar_torch.geometry.suppression_of_part import GONE, OPEN, SURVIVES, Polyhedra, suppress_part
from tests.geometry.cases import random_crowd

RAYS = Rays.golden_spiral(32)


def in_rounds(crowd, thresh, part_of, cache):
    """The states after every round, until nothing is open; every part sees all candidates of the others."""
    everything = Polyhedra(crowd.points, crowd.distances, crowd.scores)
    states = torch.full((len(crowd.points),), OPEN, dtype=torch.uint8)
    history = [states]
    while (states == OPEN).any():
        new = states.clone()
        for part in part_of.unique():
            own = (part_of == part) & (states == OPEN)
            known, undecided = (states == SURVIVES), (states == OPEN)
            found = suppress_part(
                Polyhedra(*(column[known] for column in everything)),
                Polyhedra(*(column[undecided] for column in everything)),
                ~own[undecided],
                crowd.rays,
                thresh,
                cache,
            )
            new[own] = found[own[undecided]]
        states = new
        history.append(states)
    return history


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    parts=st.integers(1, 6),
    thresh=st.sampled_from([0.0, 0.2, 0.4, 0.8]),
    cache=st.sampled_from([0, 3000, 1 << 30]),
)
def test_the_survivors_are_those_of_one_suppression(seed, parts, thresh, cache):
    crowd = random_crowd(seed, 150, rays=RAYS, extent=30.0, radius=3.0)
    part_of = (crowd.points[:, 0] * parts / 30).long()
    states = in_rounds(crowd, thresh, part_of, cache)[-1]
    assert torch.equal(states == SURVIVES, ops.nms(*crowd, thresh))


def test_what_is_decided_stays_so_and_every_round_decides_something():
    crowd = random_crowd(4, 400, rays=RAYS, extent=30.0, radius=4.0)
    history = in_rounds(crowd, 0.3, torch.arange(400) % 7, 1 << 30)
    assert len(history) > 3
    for before, after in itertools.pairwise(history):
        decided = before != OPEN
        assert torch.equal(before[decided], after[decided])
        assert (after == OPEN).sum() < (before == OPEN).sum()


def test_a_held_candidate_keeps_a_worse_one_open_and_a_survivor_removes_it():
    points = torch.tensor([[9.0, 5, 5], [11.0, 5, 5]])
    distances, scores = torch.full((2, 32), 4.0), torch.tensor([0.9, 0.5])
    nothing = Polyhedra(points[:0], distances[:0], scores[:0])
    both = Polyhedra(points, distances, scores)
    held = torch.tensor([True, False])
    assert suppress_part(nothing, both, held, RAYS, 0.3).tolist() == [OPEN, OPEN]
    assert suppress_part(nothing, both, ~held, RAYS, 0.3).tolist() == [SURVIVES, GONE]
    best = Polyhedra(points[:1], distances[:1], scores[:1] + 1)
    assert suppress_part(best, both, held, RAYS, 0.3).tolist() == [GONE, GONE]


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    low=st.tuples(*[st.integers(0, 20)] * 3),
    far=st.sampled_from([0, 1000, 70000]),
)
def test_a_box_is_a_crop_of_the_whole_volume(seed, low, far):
    crowd = random_crowd(seed, 30, rays=RAYS, extent=30.0, radius=4.0)
    size = tuple(30 - start for start in low)
    whole = ops.render_labels(crowd.points, crowd.distances, RAYS, (30, 30, 30))
    crop = whole[low[0] :, low[1] :, low[2] :]
    assert torch.equal(render_box(crowd.points, crowd.distances, RAYS, low, size), crop)
    shifted = (crowd.points + far).float()  # rounded in float32; so are the points of the comparison
    expected = ops.render_labels(shifted - far, crowd.distances, RAYS, (30, 30, 30))
    found = render_box(shifted, crowd.distances, RAYS, (far, far, far), (30, 30, 30))
    assert torch.equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    thresh=st.sampled_from([0.0, 0.2, 0.4, 0.8]),
    extent=st.sampled_from([20.0, 40.0]),
)
def test_the_states_of_a_part_do_not_depend_on_those_that_are_not_asked_for(seed, thresh, extent):
    crowd = random_crowd(seed, 200, rays=RAYS, extent=extent, radius=3.0)
    crowd = Polyhedra(crowd.points, crowd.distances, crowd.scores)
    inside = crowd.points[:, 0] < extent / 2
    order = torch.cat([inside.nonzero()[:, 0], (~inside).nonzero()[:, 0]])
    own, everything = int(inside.sum()), Polyhedra(*(column[order] for column in crowd))
    held = torch.arange(200) >= own
    held[: own // 10] = True  # of its own candidates, some wait
    known = Polyhedra(*(column[:20] for column in crowd))
    for survivors in (Polyhedra(*(column[:0] for column in crowd)), known):
        whole = suppress_part(survivors, everything, held, RAYS, thresh)
        asked = suppress_part(survivors, everything, held, RAYS, thresh, own=own)
        assert torch.equal(asked[:own], whole[:own])


def test_what_changes_no_state_of_the_part_is_not_tested():
    points = torch.tensor([[5.0, 5, 5], [12.0, 5, 5], [9.0, 5, 5]])
    distances, scores = torch.full((3, 32), 4.0), torch.tensor([0.5, 0.9, 0.4])
    candidates, held = Polyhedra(points, distances, scores), torch.tensor([False, True, True])
    best = Polyhedra(points[1:], distances[1:], scores[1:] + 1)
    nothing = Polyhedra(points[:0], distances[:0], scores[:0])
    assert suppress_part(best, candidates, held, RAYS, 0.6).tolist() == [SURVIVES, GONE, GONE]
    assert suppress_part(best, candidates, held, RAYS, 0.6, own=1).tolist() == [SURVIVES, OPEN, OPEN]
    assert suppress_part(nothing, candidates, held, RAYS, 0.6, own=1).tolist() == [SURVIVES, OPEN, OPEN]


def test_held_of_another_length_is_refused():
    crowd = random_crowd(1, 5, rays=RAYS)
    parts = Polyhedra(crowd.points, crowd.distances, crowd.scores)
    with pytest.raises(ValueError, match="held"):
        suppress_part(parts, parts, torch.zeros(3, dtype=torch.bool), RAYS, 0.3)
