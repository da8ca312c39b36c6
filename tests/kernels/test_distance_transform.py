"""Distances and probabilities of the Triton kernels are those of the C++ kernels; so is the table of labels."""

import pytest
import torch

from anystar_torch.geometry import components, targets
from anystar_torch.geometry import distance_transform as edt
from anystar_torch.kernels.implementations import forced
from tests.kernels.cases import SHAPES, adversarial, blobs

kernels = pytest.importorskip("anystar_torch.kernels.triton.distance_transform")
pytestmark = pytest.mark.interpreter

LABELS = adversarial()
SPACINGS = [(1.0, 1.0, 1.0), (2.0, 1.0, 0.37)]


def check(labels, spacing, grid=(1, 1, 1)):
    found, expected, torchs = [], [], []
    for name, results in (("triton", found), ("native", expected), ("torch", torchs)):
        with forced(name):
            results += [
                edt.distance_transform(labels, spacing),
                targets.object_probability(labels, grid, spacing),
            ]
    for ours, native, plain in zip(found, expected, torchs, strict=True):
        torch.testing.assert_close(ours, native, rtol=1e-6, atol=0)
        torch.testing.assert_close(plain, native, rtol=1e-6, atol=0)
    if spacing == (1.0, 1.0, 1.0):
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape, spacing):
    check(blobs(shape), spacing)


@pytest.mark.parametrize("grid", [(2, 2, 2), (1, 2, 2), (3, 1, 5)])
def test_grids(grid):
    check(blobs((7, 9, 21)), SPACINGS[0], grid)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("name", LABELS)
def test_adversarial_labels(name, spacing):
    check(LABELS[name], spacing)


@pytest.mark.parametrize("name", LABELS)
def test_small_labels_go(name):
    for least in (1, 3):
        with forced("triton"):
            found = components.remove_small(LABELS[name], least)
        assert torch.equal(found, components.remove_small(LABELS[name], least))


@pytest.mark.parametrize("least", [-1, 2**40])
def test_all_labels_go_or_stay(least):
    labels = blobs((3, 4, 5))
    with forced("triton"):
        assert torch.equal(components.remove_small(labels, least), labels * (least < 0))


def test_views_and_empty_batches():
    labels = blobs((7, 5, 9)).transpose(2, 4)
    check(labels, SPACINGS[1])
    with forced("triton"):
        assert edt.distance_transform(labels[:0]).shape == (0, 1, 9, 5, 7)
        assert targets.object_probability(labels[:0], (2, 2, 2)).shape == (0, 1, 5, 3, 4)
        assert components.remove_small(labels[:0], 3).shape == (0, 1, 9, 5, 7)
