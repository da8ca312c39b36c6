"""Pictures: which planes, which outlines, and that they are written whole."""

import numpy as np
import pytest
import torch
from matplotlib.path import Path

from anystar_torch.arrays import Sample
from anystar_torch.evaluation import picture
from anystar_torch.evaluation.outlines import best_planes, colour, contours


def _scene():
    labels = np.zeros((6, 8, 10), np.int32)
    labels[1:3, 1:4, 1:4] = 1
    labels[2:5, 5:7, 2:8] = 2
    return np.random.default_rng(0).random(labels.shape).astype(np.float32), labels


def test_planes_cut_most_objects():
    image, labels = _scene()
    z, y, x = best_planes(labels, image)
    assert z == 2  # the only one with both
    assert np.unique(labels[:, :, x]).size == 3
    assert y in range(5, 7)  # no y holds both; label 2 covers more
    assert best_planes(labels.astype(np.uint16) * 40000, image) == (z, y, x)
    image[4] *= 50
    assert best_planes(None, image)[0] == 4


def test_planes_of_many_objects_are_those_that_counting_finds():
    labels = np.zeros((20, 30, 40), np.int32)
    rng = np.random.default_rng(0)
    for label in range(1, 60):
        low = rng.integers(0, [16, 24, 32])
        labels[tuple(slice(a, a + rng.integers(2, 7)) for a in low)] = label * 3
    chosen = best_planes(labels, labels)
    for axis in range(3):
        counts = [np.unique(labels.take(i, axis)).size for i in range(labels.shape[axis])]
        # Boxes may be hidden in part by later ones, and then lie in two pieces: one object more or less.
        assert counts[chosen[axis]] >= max(counts) - 1


def test_outlines_enclose_exactly_the_voxels():
    """With matplotlib's test of points in a polygon; a voxel inside a hole is inside of two outlines."""
    plane = (np.random.default_rng(1).random((12, 15)) * 3).astype(int) * 7
    plane[0] = 0
    centres = np.stack(np.meshgrid(np.arange(15), np.arange(12)), axis=-1).reshape(-1, 2)
    outlines = contours(plane)
    assert [label for label, _ in outlines] == [7, 14]
    for label, lines in outlines:
        inside = np.logical_xor.reduce([Path(line).contains_points(centres) for line in lines])
        assert (inside.reshape(plane.shape) == (plane == label)).all()


def test_a_plane_without_objects_has_no_outlines():
    assert contours(np.zeros((4, 5), np.int32)) == []


def test_colours_of_neighbouring_labels_differ():
    colours = np.array([colour(label) for label in range(1, 30)])
    assert np.abs(np.diff(colours, axis=0)).max(axis=1).min() > 0.3


@pytest.mark.long
@pytest.mark.parametrize("kind", [np.float32, np.uint16, np.float64])
def test_planes_and_gallery_are_written(tmp_path, kind):
    image, labels = _scene()
    image = (image * 1000).astype(kind)
    if kind is np.float64:
        image[0, 0, :3] = np.nan, np.inf, -np.inf
    path = picture.planes(image, labels, torch.from_numpy(labels), path=tmp_path / "p.png", spacing=(2, 1, 1))
    assert path.read_bytes()[:4] == b"\x89PNG"
    batch = Sample(torch.rand(3, 1, 6, 8, 10), torch.from_numpy(labels)[None, None].repeat(3, 1, 1, 1, 1))
    assert picture.gallery(batch, tmp_path / "g.pdf").read_bytes()[:4] == b"%PDF"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.pdf", "p.png"]


def test_a_constant_volume_has_a_picture(tmp_path):
    assert picture.planes(np.full((3, 4, 5), 7, np.uint8), path=tmp_path / "c.png").exists()


def test_what_cannot_be_shown_is_refused(tmp_path):
    image, labels = _scene()
    with pytest.raises(ValueError, match="truth must have the image's shape"):
        picture.planes(image, labels[1:], path=tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"pictures end in \.png"):
        picture.planes(image, path=tmp_path / "p.xyz")
    with pytest.raises(ValueError, match=r"\[D, H, W\]"):
        picture.planes(image[0], path=tmp_path / "p.png")
    with pytest.raises(ValueError, match="no samples"):
        picture.gallery([], tmp_path / "p.png")
    assert not list(tmp_path.iterdir())
