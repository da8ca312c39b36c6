import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from anystar_torch.geometry import distance_transform as edt
from anystar_torch.kernels.distance_transform import torch_distances
from tests.residency import Residency

EDT = pytest.importorskip("edt").edt


def random_labels(seed, shape, ids=5, scale=2.0):
    """Touching blobs of several labels and background, some labels in several pieces."""
    rng = np.random.default_rng(seed)
    fields = np.stack([ndimage.gaussian_filter(rng.standard_normal(shape), scale) for _ in range(ids)])
    return fields.argmax(0).astype(np.int32)


def in_torch(labels, anisotropy=(1.0, 1.0, 1.0)):
    """The plain torch implementation, for every device."""
    return torch_distances(labels, tuple(map(float, anisotropy)))


def brute(labels, anisotropy):
    """Straight from the definition."""
    grid = np.indices(labels.shape).reshape(3, -1).T * np.asarray(anisotropy)
    flat = labels.ravel()
    gap = np.sqrt(((grid[:, None] - grid[None]) ** 2).sum(-1))
    gap[flat[:, None] == flat[None]] = np.inf
    return np.where(labels > 0, gap.min(1).reshape(labels.shape), 0)


anisotropies = st.tuples(*[st.sampled_from([1, 1.0, 2.0, 0.37, 3.2])] * 3)
shapes = st.tuples(*[st.integers(1, 9)] * 3)


@pytest.mark.parametrize("transform", [edt.distance_transform, in_torch])
class TestDistanceTransform:
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 10**6), shape=shapes, anisotropy=anisotropies)
    def test_is_the_definition(self, transform, seed, shape, anisotropy):
        labels = random_labels(seed, shape, ids=4, scale=0.7)
        if labels.min() == labels.max():
            labels[0, 0, 0] += 1
        if labels.min() == labels.max():
            return
        ours = transform(torch.from_numpy(labels)[None, None], anisotropy)
        np.testing.assert_allclose(ours[0, 0].numpy(), brute(labels, anisotropy), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("anisotropy", [(1, 1, 1), (2, 1, 1), (1, 0.3, 2.7)])
    @pytest.mark.parametrize(("shape", "scale"), [((40, 48, 56), 3), ((31, 64, 17), 8), ((1, 20, 90), 2)])
    def test_is_the_edt_packages(self, transform, shape, scale, anisotropy):
        labels = random_labels(1, shape, ids=3, scale=scale)
        ours = transform(torch.from_numpy(labels)[None, None], anisotropy)[0, 0].numpy()
        np.testing.assert_allclose(ours, EDT(labels, anisotropy=anisotropy, black_border=False), rtol=1e-5)

    def test_is_scipys_for_one_object(self, transform):
        labels = np.zeros((30, 30, 30), np.int32)
        labels[5:20, 3:25, 10:29] = 7
        ours = transform(torch.from_numpy(labels)[None, None], (2.0, 1.0, 0.5))[0, 0].numpy()
        oracle = ndimage.distance_transform_edt(labels, sampling=(2.0, 1.0, 0.5))
        np.testing.assert_allclose(ours, oracle, rtol=1e-6)

    @pytest.mark.long
    def test_large_objects_in_a_large_volume(self, transform):
        labels = np.zeros((128, 128, 128), np.int32)
        labels[1:, :, :100] = 3
        labels[40:90, 30:60, 20:128] = 2**31 - 1
        ours = transform(torch.from_numpy(labels)[None, None], (1.0, 1.0, 1.0))[0, 0].numpy()
        oracle = EDT(np.searchsorted([0, 3, 2**31 - 1], labels).astype(np.uint8), black_border=False)
        np.testing.assert_allclose(ours, oracle, rtol=1e-5)

    def test_a_volume_of_one_object_is_bounded_by_its_outside(self, transform):
        labels = torch.full((2, 1, 7, 9, 4), 5, dtype=torch.int32)
        labels[1, 0, 0, 0, 0] = 0
        ours = transform(labels, (1.0, 2.0, 3.0))
        padded = np.pad(np.full((7, 9, 4), 5), 1)
        oracle = ndimage.distance_transform_edt(padded, sampling=(1, 2, 3))[1:-1, 1:-1, 1:-1]
        np.testing.assert_allclose(ours[0, 0].numpy(), oracle, rtol=1e-6)
        oracle = ndimage.distance_transform_edt(labels[1, 0].numpy(), sampling=(1, 2, 3))
        np.testing.assert_allclose(ours[1, 0].numpy(), oracle, rtol=1e-6)

    def test_background_and_below_is_zero(self, transform):
        labels = torch.zeros(2, 1, 4, 5, 6, dtype=torch.int32)
        assert (transform(labels, (1.0, 1.0, 1.0)) == 0).all()
        labels[0, 0, 2, 2, 2] = -4
        assert (transform(labels, (1.0, 1.0, 1.0)) == 0).all()

    def test_each_sample_of_a_batch_is_itself(self, transform):
        labels = torch.stack([torch.from_numpy(random_labels(s, (9, 17, 13)))[None] for s in range(5)])
        together = transform(labels, (1.0, 1.5, 1.0))
        for alone, sample in zip(labels, together, strict=True):
            assert torch.equal(transform(alone[None], (1.0, 1.5, 1.0))[0], sample)

    def test_empty_batch(self, transform):
        assert transform(torch.zeros(0, 1, 4, 5, 6, dtype=torch.int32), (1.0, 1.0, 1.0)).shape == (
            0,
            1,
            4,
            5,
            6,
        )


def test_on_the_device_with_a_fixed_number_of_operators():
    counts = set()
    for batch in (2, 16):
        labels = torch.empty(batch, 1, 24, 32, 40, dtype=torch.int32, device="meta")
        with Residency("meta") as mode:
            assert edt.distance_transform(labels, (1, 2, 1)).shape == labels.shape
        counts.add(mode.count)
    assert len(counts) == 1


@pytest.mark.parametrize(
    "bad", [(1.0, 1.0), (0, 1, 1), (1, -1, 1), (1, 1, float("nan")), (1, 1, float("inf"))]
)
def test_bad_anisotropy_is_refused(bad):
    with pytest.raises(ValueError, match="anisotropy must be three positive numbers"):
        edt.distance_transform(torch.zeros(1, 1, 2, 2, 2, dtype=torch.int32), bad)


def test_bad_labels_are_refused():
    with pytest.raises(ValueError, match="at least one voxel"):
        edt.distance_transform(torch.zeros(1, 1, 0, 2, 2, dtype=torch.int32))
    for labels in (torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2, dtype=torch.int64)):
        with pytest.raises(TypeError):
            edt.distance_transform(labels)
    for shape in ((2, 2, 2), (1, 2, 2, 2), (1, 2, 4, 4, 4)):
        with pytest.raises((TypeError, ValueError)):
            edt.distance_transform(torch.zeros(shape, dtype=torch.int32))
