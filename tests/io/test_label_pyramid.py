"""Coarse levels of labels: the most frequent label of every block."""

from collections import Counter

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.downsampling import most_frequent
from tests.io.test_label_store import PLACE, blocky, fill, validate

zarr = pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")


def _brute(labels, factors):
    """The most frequent label of every block, in plain Python."""
    result = np.zeros([-(-n // f) for n, f in zip(labels.shape, factors, strict=True)], labels.dtype)
    for at in np.ndindex(result.shape):
        block = labels[tuple(slice(i * f, (i + 1) * f) for i, f in zip(at, factors, strict=True))].ravel()
        count = Counter(block.tolist())
        result[at] = max(block.tolist(), key=lambda one: (count[one], one != 0, -one))
    return result


@pytest.mark.parametrize("factors", [(1, 2, 2), (2, 2, 2), (2, 1, 1), (3, 4, 2)])
def test_a_coarse_voxel_has_the_most_frequent_label(factors):
    for shape in [(1, 1, 1), (2, 3, 4), (5, 6, 7)]:
        for ids in (2, 4):
            labels = np.random.default_rng(ids).integers(0, ids, shape)
            assert np.array_equal(most_frequent(labels, factors), _brute(labels, factors))
    with pytest.raises(ValueError, match="at least 1 for each of 3 axes"):
        most_frequent(labels, (2, 2))


@pytest.mark.long
def test_a_pyramid_made_shard_by_shard_is_that_of_the_whole_volume(tmp_path):
    shape = (9, 300, 523)
    labels = blocky(shape, 40)
    store = io.LabelStore.create(
        tmp_path / "a.ome.zarr", shape, placement=PLACE, shard=(8, 128, 128), chunk=(8, 64, 64)
    )
    assert [one.factors for one in store.levels] == [(1, 1, 1), (1, 2, 2), (1, 2, 2)]
    path = fill(store, labels)
    expected = labels
    for level in (1, 2):
        expected = most_frequent(expected, (1, 2, 2))
        assert np.array_equal(zarr.open_array(path / str(level), mode="r")[...], expected)
        volume = io.open_volume(path, level=level)
        assert volume.levels == 3
        assert volume.spacing == (2.0, 0.5 * 2**level, 0.5 * 2**level)
        middle = (2**level - 1) / 2 * 0.5  # of the voxels of level 0 that one of this level covers
        assert volume.placement.translation == pytest.approx((10, 20 + middle, 30 + middle))
    assert expected.max() > 30
    validate(path)
