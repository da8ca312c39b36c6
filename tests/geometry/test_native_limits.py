"""Native kernels of polyhedra at the limits of their numbers, and used by several threads of Python at once."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from anystar_torch.geometry import ops, overlaps
from anystar_torch.geometry.rays import Rays
from anystar_torch.kernels import _native

RAYS = Rays.golden_spiral(8)
VERTICES, FACES = RAYS.vertices.numpy(), RAYS.faces.numpy()
POINTS, DISTANCES, SCORES = torch.zeros(2, 3), torch.full((2, 8), 2.0), torch.tensor([0.5, 0.6])


@pytest.mark.parametrize("low", [(-(2**63), 0, 0), (0, -(2**23), 0), (0, 0, 2**23), (0, 0, 2**63 - 1)])
def test_boxes_far_from_the_origin_are_refused(low: tuple[int, int, int]) -> None:
    labels = np.zeros((3, 3, 3), np.int32)
    with pytest.raises(ValueError, match=r"low must lie within 2\^23 voxels"):
        _native.render_labels(POINTS.numpy(), DISTANCES.numpy(), VERTICES, FACES, labels, 0, 3, 1, low)
    assert not labels.any()


@pytest.mark.parametrize("edge", [-(2**31), -(2**23), 2**23, 2**31 - 1])
def test_unfinished_boxes_far_from_the_origin_are_refused(edge: int) -> None:
    arrays = POINTS.numpy(), DISTANCES.numpy(), SCORES.numpy()
    work = _native.Suppression(*arrays, VERTICES, FACES, 0.3, 1)
    boxes = np.array([[[0, 0, 0], [5, 5, 5]], [[0, edge, 0], [5, 5, 5]]], np.int32)
    with pytest.raises(ValueError, match=r"unfinished boxes must lie within 2\^23 voxels"):
        work.begin(*arrays, boxes)


def needle(length: float) -> torch.Tensor:
    """The first ray of a golden spiral points along -z; the others are short."""
    distances = DISTANCES.clone()
    distances[1, 0] = length
    return distances


@pytest.mark.parametrize("length", [2.0**20, 9e8, 1e30])
def test_needles_are_refused_before_their_memory_is_taken(length: float) -> None:
    with pytest.raises(ValueError, match=r"candidate 1 spans .* more than 2\^20 along an axis"):
        ops.nms(POINTS, needle(length), SCORES, RAYS, 0.3)
    with pytest.raises(ValueError, match=r"candidate 1 spans .* more than 2\^20 along an axis"):
        overlaps.shared_voxels(POINTS, needle(length), RAYS, torch.tensor([[0, 1]]))


def test_plates_of_too_many_rows_are_refused() -> None:
    """Each of their 2^32 rows would take a word of 64 voxels, 32 GB in all."""
    plates = RAYS.scaled((1, 1, 1e-6))
    with pytest.raises(ValueError, match="rows count as 32 or more"):
        ops.nms(POINTS, torch.full((2, 8), 2.0**15.5), SCORES, plates, 0.3)


def test_a_long_thin_polyhedron_is_suppressed_like_a_short_one() -> None:
    distances = needle(2.0**17)[[1, 1]]
    assert ops.nms(POINTS, distances, SCORES, RAYS, 0.3).tolist() == [False, True]


TWO_THREADS = """
import threading
import numpy as np
from anystar_torch.kernels import _native

vertices = np.load({vertices!r}); faces = np.load({faces!r})
points, distances, scores = np.zeros((3000, 3), np.float32), np.ones((3000, 8), np.float32), np.ones(3000, np.float32)
work = _native.Suppression(points, distances, scores, vertices, faces, 0.3, 1)
states = np.zeros(3000, np.uint8)

def begin():
    for _ in range(300):
        work.begin(points, distances, scores)

def read():
    for _ in range(3000):
        try:
            work.read(states)
        except ValueError:  # between the arrays of two rounds there are no candidates
            pass

threads = [threading.Thread(target=target) for target in (begin, read, read)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""


@pytest.mark.long
def test_two_threads_that_use_one_suppression_do_not_wait_for_each_other_for_ever(tmp_path) -> None:
    paths = {}
    for name, array in (("vertices", VERTICES), ("faces", FACES)):
        paths[name] = str(tmp_path / f"{name}.npy")
        np.save(paths[name], array)
    command = [sys.executable, "-c", TWO_THREADS.format(**paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n", done.stderr
