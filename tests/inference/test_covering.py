"""A suppression that uses known overlaps gives the survivors of one that compares everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.inference import covering
from anystar_torch.inference.candidates import suppress
from anystar_torch.inference.covering import Covering
from tests.inference.test_live import candidates


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    base=st.sampled_from([0.0, 0.3, 0.8]),
    overlap=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]),
    share=st.floats(0, 1),
)
def test_the_survivors_are_those_of_a_suppression(seed, base, overlap, share):
    found = candidates(seed, objects=8, around=20, size=40)
    known = Covering.of(found, suppress(found, base))
    best = found.first(round(share * len(found.scores)))
    assert np.array_equal(known.survivors(best, overlap), suppress(best, overlap))


def test_most_candidates_are_not_compared_again(monkeypatch):
    found = candidates(0)
    known = Covering.of(found, suppress(found, 0.3))
    sizes = []
    monkeypatch.setattr(
        covering, "suppress", lambda some, *args: sizes.append(len(some.scores)) or suppress(some, *args)
    )
    known.survivors(found, 0.25)
    assert 0 < sum(sizes) < len(found.scores) / 2


@pytest.mark.parametrize("count", [0, 1])
def test_few_candidates(count):
    found = candidates(1).first(count)
    known = Covering.of(found, suppress(found, 0.3))
    assert known.survivors(found, 0.3).sum() == count


def test_a_better_candidate_that_goes_covers_nothing():
    """At the first threshold b survives and covers c. At the second one a removes b, and c survives."""
    found = candidates(2, objects=1, around=3)
    points = np.array([[30, 30, 24], [30, 30, 30], [30, 30, 36]], np.float32)
    scores = np.array([0.9, 0.8, 0.7], np.float32)
    row = type(found)(
        points, np.full_like(found.distances, 7.0), scores, found.rays, found.scaling, 13.0, 0.3
    )
    known = Covering.of(row, np.array([True, True, False]))
    assert known.better.tolist() == [-1, -1, 1]
    overlap = known.shared[2] / known.smaller[2]
    assert suppress(row, 0.9 * overlap).tolist() == [True, False, True]
    assert known.survivors(row, 0.9 * overlap).tolist() == [True, False, True]
