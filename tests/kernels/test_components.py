"""Connected components of the Triton kernels are those of the C++ kernel."""

import pytest
import torch

from anystar_torch.geometry.components import connected_components, remove_small
from anystar_torch.kernels.implementations import forced
from tests.kernels.cases import SHAPES, adversarial, blobs, salt_and_pepper

kernels = pytest.importorskip("anystar_torch.kernels.triton.components")
pytestmark = pytest.mark.interpreter

LABELS = adversarial()


def check(labels, least=1):
    with forced("triton"):
        found = connected_components(labels, least)
    expected = connected_components(labels, least)
    assert torch.equal(found, expected)
    return expected


@pytest.mark.parametrize("least", [1, 6])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(shape, least):
    check(blobs(shape), least)


@pytest.mark.parametrize("name", LABELS)
def test_adversarial_labels(name):
    check(LABELS[name], 4)


@pytest.mark.parametrize("least", [-1, 2**40])
def test_all_pieces_go_or_stay(least):
    check(blobs((3, 4, 5)), least)


@pytest.mark.parametrize("density", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("ids", [1, 3])
def test_salt_and_pepper(density, ids):
    check(salt_and_pepper((8, 15, 20), density, ids))


def test_more_blocks_than_one_sum_of_counts(monkeypatch):
    monkeypatch.setattr(kernels, "NUMBERED", 4)
    monkeypatch.setattr(kernels, "BLOCK", 16)
    assert check(salt_and_pepper((3, 5, 7), 0.15)).max() > 4


def test_many_programs_join_one_serpentine(monkeypatch):
    monkeypatch.setattr(kernels, "BLOCK", 32)
    assert check(LABELS["serpentine"]).max() == 1


def test_views_and_empty_batches():
    labels = blobs((7, 5, 9)).transpose(2, 4)
    check(labels)
    with forced("triton"):
        assert connected_components(labels[:0]).shape == (0, 1, 9, 5, 7)
    assert torch.equal(
        connected_components(remove_small(connected_components(labels), 5)), connected_components(labels, 5)
    )
