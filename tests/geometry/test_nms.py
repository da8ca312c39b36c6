"""Suppression against its definition in torch."""

import signal
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from anystar_torch.geometry import ops
from anystar_torch.geometry.overlaps import shared_voxels
from anystar_torch.geometry.rays import Rays
from anystar_torch.geometry.rendering import render_box
from anystar_torch.geometry.suppression_in_rounds import SuppressionInRounds
from anystar_torch.geometry.suppression_of_part import Polyhedra, suppress_part
from anystar_torch.kernels import _native
from anystar_torch.kernels import polyhedra as reference
from tests.geometry.cases import Crowd, random_crowd

RAYS = Rays.golden_spiral(32)


def suppress(crowd: Crowd, thresh: float) -> Tensor:
    return ops.nms(*crowd, thresh)


@pytest.mark.parametrize("thresh", [0.0, 0.2, 0.5, 0.8])
@pytest.mark.parametrize("anisotropy", [(1, 1, 1), (3, 1, 1.5)])
def test_equals_the_definition_on_non_convex_crowds(anisotropy: tuple[float, ...], thresh: float) -> None:
    crowd = random_crowd(1, 24, rays=Rays.golden_spiral(16, anisotropy), extent=12, radius=3)
    expected = reference.nms(*crowd, thresh)
    assert 1 < expected.sum() < 24
    torch.testing.assert_close(suppress(crowd, thresh), expected)


def test_polyhedra_longer_than_a_machine_word() -> None:
    rays = Rays.golden_spiral(16).scaled((0.05, 0.05, 1))
    crowd = random_crowd(7, 12, rays=rays, extent=6, radius=60)
    crowd = crowd._replace(points=crowd.points * torch.tensor([1.0, 1, 20]))
    assert (crowd.distances.amax(1) > 64).all()
    expected = reference.nms(*crowd, 0.2)
    assert 1 < expected.sum() < 12
    torch.testing.assert_close(suppress(crowd, 0.2), expected)


@pytest.mark.long
def test_large_ones_among_many_small() -> None:
    crowd = random_crowd(8, 60, rays=Rays.golden_spiral(12), extent=40, radius=1.5)
    crowd.distances[::20] *= 10
    expected = reference.nms(*crowd, 0.1)
    assert 10 < expected.sum() < 60
    torch.testing.assert_close(suppress(crowd, 0.1), expected)


def test_survivors_beyond_the_cache_still_suppress() -> None:
    crowd = random_crowd(9, 500, rays=RAYS, extent=30)
    arrays = [part.numpy() for part in (*crowd[:3], RAYS.vertices, RAYS.faces)]
    keep = np.zeros(500, np.uint8)
    work = _native.Suppression(*arrays, 0.3, 2, cache_bytes=20_000)  # room for a few
    while work.advance(1.0) < 500:
        pass
    work.read(keep)
    np.testing.assert_array_equal(keep.astype(bool), suppress(crowd, 0.3).numpy())


def test_a_copy_is_suppressed_and_a_distant_one_is_not() -> None:
    sphere = torch.full((1, 32), 5.0)
    points = torch.tensor([[9.0, 9, 9], [9, 9, 9], [9, 9, 30]])
    keep = ops.nms(points, sphere.expand(3, -1), torch.tensor([0.5, 0.9, 0.1]), RAYS, 0.5)
    assert keep.tolist() == [False, True, True]


def test_no_candidates_and_one() -> None:
    crowd = random_crowd(2, 1, rays=RAYS)
    assert suppress(crowd, 0.3).tolist() == [True]
    nothing = ops.nms(crowd.points[:0], crowd.distances[:0], crowd.scores[:0], RAYS, 0.3)
    assert nothing.shape == (0,)
    assert nothing.dtype == torch.bool


def test_order_of_arrival_and_threads_do_not_matter() -> None:
    crowd = random_crowd(3, 400, rays=RAYS, extent=30)
    crowd = crowd._replace(scores=(crowd.scores * 4).round() / 4)  # many ties
    expected = suppress(crowd, 0.3)
    shuffle = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            got = ops.nms(crowd.points[shuffle], crowd.distances[shuffle], crowd.scores[shuffle], RAYS, 0.3)
            assert torch.equal(got, expected[shuffle])
            assert torch.equal(suppress(crowd, 0.3), expected)
    finally:
        torch.set_num_threads(before)


def test_ties_fall_to_the_first_in_z_then_y_then_x_then_distances() -> None:
    points = torch.tensor([[5.0, 5, 6], [5, 5, 5], [5, 6, 5], [6, 5, 5], [5, 5, 5]])
    distances = torch.full((5, 32), 4.0)
    distances[4, 31] = 3.9
    keep = ops.nms(points, distances, torch.zeros(5), RAYS, 0.3)
    assert keep.tolist() == [False, False, False, False, True]


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_degenerate_distances_are_refused(value: float) -> None:
    crowd = random_crowd(4, 3, rays=RAYS)
    crowd.distances[1, 7] = value
    with pytest.raises(ValueError, match=r"distances must be positive and finite, got .* at \[1, 7\]"):
        suppress(crowd, 0.3)


def test_progress_counts_up_to_all_and_may_end_the_call() -> None:
    crowd = random_crowd(5, 60, rays=RAYS)
    seen: list[tuple[int, int]] = []
    keep = ops.nms(*crowd, 0.3, progress=lambda done, total: seen.append((done, total)))
    assert torch.equal(keep, suppress(crowd, 0.3))
    assert seen[-1] == (60, 60)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ops.nms(*crowd, 0.3, progress=stop)


def test_ctrl_c_is_honoured_within_a_second() -> None:
    # stardist's own suppression, which other tests run, takes the signal over for good
    signal.signal(signal.SIGINT, signal.default_int_handler)
    crowd = random_crowd(6, 40_000, rays=RAYS, extent=60, radius=8)
    sent: list[float] = []

    def interrupt() -> None:
        sent.append(time.monotonic())
        signal.raise_signal(signal.SIGINT)  # os.kill ends the process on Windows

    timer = threading.Timer(0.3, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        suppress(crowd, 1.0)  # a minute of work: nothing is suppressed, so all are tested against all
    assert time.monotonic() - sent[0] < 1.0


def in_rounds(crowd: Crowd) -> Tensor:
    suppression = SuppressionInRounds(crowd.rays, 0.3)
    suppression.add(crowd.points, crowd.distances, crowd.scores)
    suppression.settle(FAR)
    return suppression.finish()


def of_part(crowd: Crowd) -> Tensor:
    all_of_them = Polyhedra(crowd.points, crowd.distances, crowd.scores)
    return suppress_part(
        Polyhedra(*(part[:0] for part in all_of_them)), all_of_them, NOT_HELD, crowd.rays, 0.3
    )


FAR, NOT_HELD, PAIRS = (
    torch.full((1, 2, 3), 90),
    torch.zeros(24, dtype=torch.bool),
    torch.tensor([[0, 1], [2, 3]]),
)
ON_THE_CPU = {
    "nms": lambda crowd: suppress(crowd, 0.3),
    "nms with progress": lambda crowd: ops.nms(*crowd, 0.3, progress=lambda done, total: None),
    "rounds": in_rounds,
    "part": of_part,
    "overlaps": lambda crowd: shared_voxels(crowd.points, crowd.distances, crowd.rays, PAIRS)[0],
    "labels": lambda crowd: ops.render_labels(crowd.points, crowd.distances, crowd.rays, (9, 10, 11)),
    "box": lambda crowd: render_box(crowd.points, crowd.distances, crowd.rays, (2, 1, 3), (9, 10, 11)),
}


@pytest.mark.parametrize("name", ON_THE_CPU)
def test_the_default_device_of_the_program_changes_nothing(name: str) -> None:
    """C++ works on the CPU, also where the program makes its tensors on a GPU."""
    crowd = random_crowd(1, 24, rays=RAYS, extent=12, radius=3)
    expected = ON_THE_CPU[name](crowd)
    with torch.device("meta"):
        found = ON_THE_CPU[name](crowd)
    assert torch.equal(found, expected)
