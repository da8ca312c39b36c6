import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anystar_torch.geometry import components
from anystar_torch.kernels.components import torch_components
from anystar_torch.kernels.label_table import torch_remove_small
from tests.geometry.test_distance_transform import random_labels
from tests.residency import Residency

measure = pytest.importorskip("skimage.measure")

COMPONENTS = [components.connected_components, torch_components]
REMOVE = [components.remove_small, torch_remove_small]


def oracle(labels):
    return np.stack([pieces_of_sample(sample[0]) for sample in labels])[:, None]


def pieces_of_sample(labels):
    pieces = measure.label(np.maximum(labels, 0), background=0, connectivity=3)
    _, first = np.unique(pieces[pieces > 0], return_index=True)
    order = np.zeros(len(first) + 1, np.int32)  # scikit-image does not promise to number by the first voxel
    order[1 + np.argsort(first)] = np.arange(1, len(first) + 1)
    return order[pieces]


@pytest.mark.long
@pytest.mark.parametrize("find", COMPONENTS)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    shape=st.tuples(st.integers(1, 3), st.just(1), *[st.integers(1, 12)] * 3),
    ids=st.integers(1, 4),
    density=st.floats(0.05, 1.0),
)
def test_pieces_of_salt_and_pepper(find, seed, shape, ids, density):
    rng = np.random.default_rng(seed)
    labels = np.where(rng.random(shape) < density, rng.integers(1, ids + 1, shape), 0).astype(np.int32)
    assert np.array_equal(find(torch.from_numpy(labels)).numpy(), oracle(labels))


@pytest.mark.long
@pytest.mark.parametrize("find", COMPONENTS)
@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_pieces_of_blobs(find, scale):
    labels = np.stack([random_labels(seed, (30, 33, 36), ids=4, scale=scale) for seed in range(3)])[:, None]
    labels[0] *= 536_870_911  # ids up to 1.6e9
    labels[1][labels[1] == 2] = -7
    assert np.array_equal(find(torch.from_numpy(labels)).numpy(), oracle(labels))


@pytest.mark.parametrize("find", COMPONENTS)
def test_a_serpentine_is_one_piece(find):
    labels = np.zeros((1, 1, 3, 32, 32), np.int32)
    labels[..., 1, ::2, :] = 4
    labels[..., 1, 1::4, -1] = 4
    labels[..., 1, 3::4, 0] = 4
    assert oracle(labels).max() == 1
    assert np.array_equal(find(torch.from_numpy(labels)).numpy(), oracle(labels))


@pytest.mark.parametrize("find", COMPONENTS)
def test_corners_join_and_labels_part(find):
    labels = torch.zeros(1, 1, 2, 2, 4, dtype=torch.int32)
    labels[0, 0, 0, 0, 0] = labels[0, 0, 1, 1, 1] = 9  # touch by a corner
    labels[0, 0, 0, 0, 2] = 8
    expected = torch.zeros_like(labels)
    expected[labels == 9], expected[labels == 8] = 1, 2
    assert torch.equal(find(labels), expected)


@pytest.mark.parametrize("remove", REMOVE)
@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), least=st.integers(-1, 60))
def test_small_labels_go(remove, seed, least):
    names = np.array([0, 1, -3, 70_000, 2**31 - 1, 5, 6], dtype=np.int32)
    rng = np.random.default_rng(seed)
    labels = names[rng.choice(7, p=[0.3, 0.3, 0.1, 0.1, 0.1, 0.08, 0.02], size=(2, 1, 5, 6, 7))]
    expected = np.zeros_like(labels)
    for sample, kept in zip(labels, expected, strict=True):
        for name, count in zip(*np.unique(sample, return_counts=True), strict=True):
            if name > 0 and count >= least:
                kept[sample == name] = name
    assert np.array_equal(remove(torch.from_numpy(labels), least).numpy(), expected)


def test_on_the_device_with_a_fixed_number_of_operators():
    counts = set()
    for batch in (2, 16):
        labels = torch.empty(batch, 1, 12, 14, 16, dtype=torch.int32, device="meta")
        with Residency("meta") as mode:
            pieces = components.connected_components(labels)
            assert components.remove_small(pieces, 8).shape == labels.shape
        counts.add(mode.count)
    assert len(counts) == 1


@pytest.mark.long
def test_operators_are_registered_as_torch_wants():
    labels = torch.from_numpy(random_labels(1, (5, 6, 7)))[None, None]
    torch.library.opcheck(torch.ops.anystar.connected_components, (labels, 2))
    torch.library.opcheck(torch.ops.anystar.remove_small, (labels, 4))


def test_bad_labels_are_refused():
    for call in (components.connected_components, lambda labels: components.remove_small(labels, 3)):
        with pytest.raises(TypeError):
            call(torch.zeros(1, 1, 2, 2, 2))
        with pytest.raises(ValueError, match="at least one voxel"):
            call(torch.zeros(1, 1, 2, 0, 2, dtype=torch.int32))
