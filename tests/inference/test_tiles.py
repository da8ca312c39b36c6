"""Tiles: every voxel has one owner, every owner its halo."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from anystar_torch.inference.tiles import best_tile_size, cut_volume, padded

axis = st.tuples(st.integers(1, 97), st.sampled_from([1, 2, 4, 8]), st.integers(1, 90), st.integers(0, 17))


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.tuples(axis, axis, axis))
def test_tiles_partition_and_see_their_halo(axes):
    shape, divisor, size, halo = zip(*axes, strict=True)
    whole = padded(shape, divisor)
    for n, d, s, h in zip(whole, divisor, size, halo, strict=True):
        assume(n <= s or s // d * d >= 2 * (-(-h // d) * d) + d)
    owners = np.zeros(whole, int)
    pieces = cut_volume(shape, divisor, size, halo)
    assert len({tuple(np.subtract(t.stop, t.start)) for t in pieces}) == 1
    for tile in pieces:
        owners[tuple(slice(a, b) for a, b in zip(tile.low, tile.high, strict=True))] += 1
        for i in range(3):
            assert 0 <= tile.start[i] <= tile.low[i] < tile.high[i] <= tile.stop[i] <= whole[i]
            assert tile.start[i] % divisor[i] == tile.stop[i] % divisor[i] == 0
            assert tile.start[i] == 0 or tile.low[i] - tile.start[i] >= halo[i]
            assert tile.stop[i] == whole[i] or tile.stop[i] - tile.high[i] >= halo[i]
            assert (
                tile.start[i] == 0
                or tile.stop[i] == whole[i]
                or tile.low[i] - tile.start[i] < halo[i] + divisor[i]
            )
            assert whole[i] <= size[i] or tile.stop[i] - tile.start[i] <= size[i]
    assert (owners == 1).all()


def test_a_halo_that_fills_the_tile_is_refused():
    with pytest.raises(ValueError, match="at least 72 voxels"):
        cut_volume((200, 200, 200), (8, 8, 8), (64, 64, 64), (32, 32, 32))


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(st.tuples(axis, axis, axis), st.floats(0.01, 1.2))
def test_the_size_chosen_fits_and_no_other_has_less_to_compute(axes, share):
    shape, divisor, _, halo = zip(*axes, strict=True)
    whole = padded(shape, divisor)
    most = share * np.prod(whole)
    every = [
        [n for n in range(d, total + 1, d) if n == total or n >= 2 * (-(-h // d) * d) + d]
        for total, d, h in zip(whole, divisor, halo, strict=True)
    ]
    smallest = np.prod([sizes[0] for sizes in every])
    if smallest > most:
        with pytest.raises(ValueError, match=f"smallest tile has {smallest} voxels"):
            best_tile_size(shape, divisor, halo, most)
        return
    chosen = best_tile_size(shape, divisor, halo, most)
    assert np.prod(chosen) <= most
    work = np.prod(chosen) * len(cut_volume(shape, divisor, chosen, halo))
    others = np.random.default_rng(0)
    for _ in range(20):
        size = [int(others.choice(sizes)) for sizes in every]
        if np.prod(size) <= most:
            assert work <= np.prod(size) * len(cut_volume(shape, divisor, size, halo))


def test_of_tiles_with_equal_work_the_largest_is_chosen():
    """Without a halo, tiles of all sizes that divide an axis have the same work per voxel."""
    assert np.prod(best_tile_size((64, 64, 64), (4, 4, 4), (0, 0, 0), 40**3)) == 32**3
    assert np.prod(best_tile_size((64, 60, 52), (4, 4, 4), (0, 0, 0), 10**5)) > 10**5 / 2


def test_a_tile_is_not_smaller_than_the_network_needs():
    """A smaller one is computed with more voxels around it, which take memory and time."""
    assert best_tile_size((13 * 16, 48, 16), (16, 16, 16), (0, 0, 0), 10**6, smallest=48) == (208, 48, 16)
    assert min(best_tile_size((13 * 16, 48, 16), (16, 16, 16), (0, 0, 0), 10**5, smallest=48)[:2]) >= 48
    with pytest.raises(ValueError, match=rf"smallest tile has {48 * 48 * 16} voxels, and 1000 fit"):
        best_tile_size((13 * 16, 48, 16), (16, 16, 16), (0, 0, 0), 1000, smallest=48)
