"""Candidates: their order, those above a threshold with what is known of them, and their file."""

from dataclasses import replace

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference import candidates as module
from anystar_torch.inference.candidates import (
    Candidates,
    Survivors,
    checked_overlap,
    checked_probability,
    merge,
    suppress,
)
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.selection import TileCandidates
from anystar_torch.io import RunRecord

RAYS = Rays.golden_spiral(16, (2.0, 1.0, 0.5))
SCALING = Scaling((10, 20, 30), (20, 20, 15))


def parts(count=40, tiles=3):
    """Candidates of some tiles; many have equal scores, and a few share their plane or their line."""
    random = np.random.default_rng(0)
    points = np.stack(np.unravel_index(random.permutation(64)[:count], (4, 4, 4)), 1).astype(np.float32)
    distances = random.uniform(1, 3, (count, 16)).astype(np.float16)
    scores = random.choice(np.array([0.5, 0.625, 0.75], np.float32), count)
    columns = [np.array_split(column, tiles) for column in (points, distances, scores)]
    return [TileCandidates(*part) for part in zip(*columns, strict=True)]


def merged(**options):
    return merge(parts(), RAYS, SCALING, 13, 0.4, **options)


def test_candidates_are_sorted_by_score_then_z_then_y_then_x():
    found = merged()
    rows = [
        (-score, *point) for score, point in zip(found.scores.tolist(), found.points.tolist(), strict=True)
    ]
    assert rows == sorted(rows)
    reverse = merge(parts()[::-1], RAYS, SCALING, 13, 0.4)
    for name in ("points", "distances", "scores"):
        assert np.array_equal(getattr(reverse, name), getattr(found, name))


def known_survivors():
    """Survivors in the order of the parts: those whose first distance is above 2."""
    first = np.concatenate([part.distances[:, 0] for part in parts()])
    return merged(survivors=Survivors(0.3, first > 2))


def is_consistent(found):
    return np.array_equal(found.survivors.kept, found.distances[:, 0] > 2)


def test_what_is_known_of_candidates_stays_with_them():
    found = known_survivors()
    assert is_consistent(found)
    higher = found.above(0.5)
    assert len(higher.scores) == (found.scores > 0.5).sum() < len(found.scores)
    assert is_consistent(higher)
    assert is_consistent(found.first(7))
    some = found.at(np.array([1, 4, 30]))
    assert is_consistent(some)
    assert np.array_equal(some.points, found.points[[1, 4, 30]])


def test_a_score_at_the_threshold_is_not_above_it():
    found = merged()
    assert len(found.above(0.625).scores) == (found.scores == 0.75).sum()
    assert found.above(0.625).prob_thresh == 0.625
    assert len(found.above(found.prob_thresh).scores) == len(found.scores)  # its own is no lower one
    with pytest.raises(ValueError, match=r"collected above 0\.4, got prob_thresh 0\.39"):
        found.above(0.39)
    with pytest.raises(ValueError, match=r"collected above 0\.625"):
        found.above(0.625).above(0.5)


def test_what_is_known_is_taken_for_its_own_threshold_only(monkeypatch):
    found = known_survivors()
    monkeypatch.setattr(module, "nms", None)
    assert np.array_equal(suppress(found, 0.3), found.survivors.kept)
    with pytest.raises(TypeError):
        suppress(found, 0.4)


def test_a_suppression_tells_how_far_it_is():
    ticks = []
    kept = suppress(merged(), 0.3, lambda done, total: ticks.append((done, total)))
    assert kept.any()
    assert ticks[-1] == (40, 40)


@pytest.mark.parametrize("version", [1, 2])
def test_a_file_holds_all_that_is_needed(tmp_path, version):
    """The first version had another name for the record."""
    found, record = merged(), RunRecord(source="a.tif", tta=True)
    found.save(tmp_path / "c.npz", record)
    with np.load(tmp_path / "c.npz") as file:
        content = dict(file)
    assert content["format"] == 2
    if version == 1:
        content |= {"format": np.array(1), "about": content.pop("record")}
        np.savez(tmp_path / "c.npz", **content)
    loaded, read = Candidates.load(tmp_path / "c.npz")
    assert read == record
    for name in ("points", "distances", "scores"):
        assert np.array_equal(getattr(loaded, name), getattr(found, name))
    assert loaded.rays.anisotropy == (2.0, 1.0, 0.5)
    assert np.array_equal(loaded.rays.vertices, RAYS.vertices)
    assert np.array_equal(loaded.rays.faces, RAYS.faces)
    assert (loaded.scaling, loaded.diameter, loaded.prob_thresh) == (SCALING, 13.0, 0.4)


def test_a_file_of_a_later_version_is_refused(tmp_path):
    merged().save(tmp_path / "c.npz")
    with np.load(tmp_path / "c.npz") as file:
        content = dict(file)
    np.savez(tmp_path / "c.npz", **content | {"format": np.array(3)})
    with pytest.raises(ValueError, match="format 3, this version reads 2 and earlier"):
        Candidates.load(tmp_path / "c.npz")


def test_a_file_is_replaced_only_where_that_is_wanted(tmp_path):
    merged().save(tmp_path / "c.npz")
    replace(merged(), diameter=7.0).save(tmp_path / "c.npz")
    with pytest.raises(ValueError, match=r"c\.npz exists"):
        merged().save(tmp_path / "c.npz", overwrite=False)
    assert Candidates.load(tmp_path / "c.npz")[0].diameter == 7.0


def test_limits_of_thresholds():
    assert checked_probability(0) == 0
    assert (checked_overlap(0), checked_overlap(1)) == (0, 1)
    for call, value in [(checked_probability, 1), (checked_probability, -0.1), (checked_overlap, 1.1)]:
        with pytest.raises(ValueError, match="must be between 0 and 1"):
            call(value)
