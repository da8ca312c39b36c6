"""Objects at changing thresholds equal those that are computed from the start."""

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import merge, suppress
from anystar_torch.inference.live import LiveObjects
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import TileCandidates
from anystar_torch.inference.stages import find_instances
from tests.inference.scenes import config

RAYS = Rays.golden_spiral(32)


def candidates(seed, objects=12, around=40, size=60):
    """Candidates around a few centres, with noise in points, distances and scores."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(8, size - 8, (objects, 3))
    points = np.rint(np.repeat(centres, around, 0) + rng.normal(0, 2, (objects * around, 3)))
    distances = rng.uniform(5, 8, (len(points), len(RAYS)))
    scores = rng.uniform(0.3, 0.99, len(points))
    scores[::7] = 0.6  # equal scores
    part = TileCandidates(points.astype(np.float32), distances.astype(np.float16), scores.astype(np.float32))
    return merge([part], RAYS, Scaling((size, 2 * size, size), (size, size, size)), 13.0, 0.3)


def assert_same(one, other):
    for name in ("labels", "points", "distances", "scores"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert (one.prob_thresh, one.nms_thresh, one.warnings) == (
        other.prob_thresh,
        other.nms_thresh,
        other.warnings,
    )


@pytest.mark.parametrize("shape_averaging", [True, False])
def test_every_pair_of_thresholds_gives_the_objects_of_a_new_run(shape_averaging):
    found = candidates(0)
    live = LiveObjects(found, shape_averaging, config())
    for prob, overlap in [
        (0.6, 0.3),
        (0.9, 0.3),
        (0.35, 0.3),
        (0.6, 0.1),
        (0.95, 0.1),
        (0.3, 0.8),
        (0.6, 0.3),
    ]:
        expected = find_instances(
            found.above(prob), overlap, shape_averaging=shape_averaging, config=config()
        )
        assert_same(live.at(prob, overlap), expected)


def test_all_candidates_are_suppressed_once(monkeypatch):
    from anystar_torch.inference import covering
    from anystar_torch.inference import live as module

    whole, parts = [], []
    monkeypatch.setattr(module, "suppress", lambda *args: whole.append(args) or suppress(*args))
    monkeypatch.setattr(covering, "suppress", lambda *args: parts.append(args) or suppress(*args))
    live = LiveObjects(candidates(1))
    for prob in (0.9, 0.4, 0.5, 0.9, 0.4):
        live.at(prob, 0.3)
    assert (len(whole), len(parts)) == (1, 0)
    live.at(0.4, 0.2)
    known = len(parts)
    assert known
    live.at(0.5, 0.2)
    assert (len(whole), len(parts)) == (1, known)
    assert all(len(args[0].scores) < len(live.candidates.scores) for args in parts)


def test_preparing_changes_nothing_but_when_the_work_is_done(monkeypatch):
    from anystar_torch.inference import live as module

    found = candidates(4)
    live = LiveObjects(found, True, config())
    live.prepare(0.4)
    monkeypatch.setattr(module, "suppress", None)
    assert_same(
        live.at(0.5, 0.1), find_instances(found.above(0.5), 0.1, shape_averaging=True, config=config())
    )


def test_no_candidates_give_no_objects():
    nothing = candidates(2).first(0)
    assert len(LiveObjects(nothing).at(0.5, 0.3)) == 0


def test_thresholds_out_of_range_are_refused():
    live = LiveObjects(candidates(3))
    with pytest.raises(ValueError, match="collected above"):
        live.at(0.2, 0.3)
    with pytest.raises(ValueError, match="nms_thresh"):
        live.at(0.5, 1.5)
