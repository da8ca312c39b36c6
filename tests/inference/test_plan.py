"""How much memory tiles may take, and the plans that follow, by hand."""

import math

import numpy as np
import pytest
import torch

from anystar_torch.inference.plan import (
    RESERVE,
    MemoryState,
    Plan,
    TileOptions,
    check_suppression_memory,
    plan_layout,
    plan_tiles,
    smaller_plan,
    voxels_that_fit,
)
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.tiles import size_of
from tests.inference.scenes import Sees

CPU, MPS, CUDA = torch.device("cpu"), torch.device("mps"), torch.device("cuda")
SOURCE = (100, 100, 100)
LABELS = 8 * 100**3  # bytes of the labels and of the copy that is written


def network(device=CPU, smallest_tile=0, most=10**12):
    """A network with a divisor of 8 voxels and a halo of 8 voxels that takes 100 bytes per voxel."""
    made = TileNetwork(Sees((2, 2, 2)).eval(), device, receptive_field=(8, 8, 8), smallest_tile=smallest_tile)
    made.__dict__.update(bytes_per_voxel=100.0, max_voxels=most, share_of_halo=1.0)
    return made


def owned(tiles):
    """How many tiles own each voxel of a volume of 64 voxels along every axis."""
    count = np.zeros((64, 64, 64), int)
    for tile in tiles:
        count[tuple(slice(a, b) for a, b in zip(tile.low, tile.high, strict=True))] += 1
    return count


def test_a_limit_leaves_what_the_process_does_not_take_yet():
    state = MemoryState(resident=10**9, available=20 * 10**9)
    assert state.budget(CPU, 5e9, SOURCE) == pytest.approx(4e9 - RESERVE)
    assert state.budget(CPU, 5e9, SOURCE, reserve=0) == pytest.approx(4e9)
    assert state.budget(MPS, 5e9, SOURCE) == pytest.approx(5e9)


def test_without_a_limit_half_of_the_free_memory_is_used():
    state = MemoryState(resident=10**9, available=20 * 10**9)
    assert state.budget(CPU, None, SOURCE, kept=3e9) == pytest.approx(7e9)
    assert state.budget(MPS, None, SOURCE, kept=3e9) == pytest.approx(10e9)


@pytest.mark.parametrize("kept", [0, 5 * 10**6])
def test_labels_and_what_is_kept_must_fit(kept):
    state = MemoryState(resident=10**9, available=20 * 10**9)
    enough = 1e9 + LABELS + kept
    assert state.budget(CPU, enough, SOURCE, kept, reserve=0) == pytest.approx(LABELS + kept)
    with pytest.raises(ValueError, match="raise max_memory, crop the volume"):
        state.budget(CPU, enough - 1, SOURCE, kept, reserve=0)


def test_a_tenth_of_the_memory_is_left_for_candidates():
    assert voxels_that_fit(network(), 1e9) == pytest.approx(9e6)
    assert voxels_that_fit(network(most=5 * 10**6), 1e9) == 5e6


def test_a_volume_that_fits_is_one_tile():
    layout = plan_layout((60, 64, 57), network(), 64**3, TileOptions())
    assert (layout.size, layout.halo, layout.batch) == ((64, 64, 64), (0, 0, 0), 1)
    smaller = plan_layout((64, 64, 64), network(), 64**3 - 1, TileOptions())
    assert math.prod(smaller.size) < 64**3
    assert smaller.halo == (8, 8, 8)
    given = plan_layout((64, 64, 64), network(), 64**3, TileOptions(size=(32, 32, 32), halo=(8, 0, 8)))
    assert (given.size, given.halo) == ((32, 32, 32), (8, 0, 8))


def test_mirrored_context_on_both_sides_takes_memory():
    """A volume of 8 slices that the network sees as 24 takes three times the memory."""
    thin = (8, 64, 64)
    fits = plan_layout(thin, network(smallest_tile=24), 24 * 64 * 64, TileOptions())
    assert fits.size == thin
    cut = plan_layout(thin, network(smallest_tile=24), 24 * 64 * 64 - 1, TileOptions())
    assert math.prod(cut.size) < math.prod(thin)


@pytest.mark.parametrize(("most", "batch"), [(32**3, 1), (3 * 32**3, 3), (100 * 32**3, 16)])
def test_on_a_gpu_as_many_tiles_as_fit_are_predicted_together(most, batch):
    options = TileOptions(size=(32, 32, 32))
    assert plan_layout((4000,) * 3, network(CUDA), most, options).batch == batch
    assert plan_layout((4000,) * 3, network(CPU), most, options).batch == 1


def test_the_tiles_of_a_given_batch_share_the_memory():
    layout = plan_layout((512,) * 3, network(), 4 * 48**3, TileOptions(batch=4))
    assert layout.batch == 4
    assert math.prod(layout.size) <= 48**3


def test_a_batch_is_not_larger_than_the_plan():
    options = TileOptions(size=(40, 64, 64), halo=(8, 8, 8), batch=16)
    plan = plan_tiles((64, 64, 64), network(), 10**9, options)
    assert len(plan.tiles) == plan.batch == 2
    assert [len(batch) for batch in plan.batches] == [2]
    assert plan.size == (40, 64, 64)


def test_a_smaller_plan_takes_half_the_memory_for_the_same_voxels():
    tiles = plan_tiles((64, 64, 64), network(), 10**9, TileOptions(size=(40, 64, 64))).tiles
    fewer = smaller_plan(Plan(tiles, 5), network())
    assert (fewer.tiles, fewer.batch) == (tiles, 2)
    cut = smaller_plan(Plan(tiles, 1), network())
    assert cut.batch == 1
    assert all(math.prod(size_of(tile)) <= 40 * 64 * 64 / 2 for tile in cut.tiles)
    assert (owned(cut.tiles) == 1).all()
    with pytest.raises(ValueError, match="the device's memory is full with a tile"):
        smaller_plan(plan_tiles((64,) * 3, network(), 24**3, TileOptions()), network())


@pytest.mark.parametrize("candidates", [1000, 10**6])
def test_a_suppression_needs_memory_for_candidates_voxels_and_labels(candidates):
    """620 bytes per candidate; 3200 for its voxels, of which at most 1.3 GB are kept."""
    need = 10**6 + 620 * candidates + min(3200 * candidates, 1.3e9) + LABELS
    check_suppression_memory(candidates, SOURCE, max_memory=need, used=10**6)
    with pytest.raises(ValueError, match=f"suppression of {candidates} candidates needs"):
        check_suppression_memory(candidates, SOURCE, max_memory=need - 1, used=10**6)


def test_options_at_their_limits_are_valid():
    TileOptions(size=(1, 1, 1), halo=(0, 0, 0), batch=1)
    for options in ({"batch": 0}, {"size": (1, 0, 1)}, {"halo": (0, -1, 0)}):
        with pytest.raises(ValueError, match=next(iter(options))):
            TileOptions(**options)
