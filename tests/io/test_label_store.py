"""Labels as OME-Zarr: shards, pyramid, metadata, and what is there before they are finished."""

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.placement import Placement

zarr = pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")

PLACE = Placement((2.0, 0.5, 0.5), ("micrometer",) * 3, (10.0, 20.0, 30.0))
RECORD = io.RunRecord(objects=9)


def _labels(shape, ids=5, dtype=np.uint32, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, ids, [(size + 2) // 3 for size in shape])
    for axis in range(len(shape)):
        coarse = coarse.repeat(3, axis)
    return coarse[tuple(map(slice, shape))].astype(dtype)


def _filled(store, labels):
    for box in store.shards():
        store.write(0, box, labels[box])
    for level in range(1, len(store.levels)):
        for box in store.shards(level):
            store.downsample(level, box)
    return store.finish(RECORD)


def _validated(path):
    import yaozarrs
    from ome_zarr_models.v05.image_label import ImageLabel

    ImageLabel.from_zarr(zarr.open_group(path, mode="r"))
    yaozarrs.validate_zarr_store(str(path))


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (16, 33, 65), (2, 17, 16, 31)])
def test_every_voxel_comes_back(tmp_path, shape):
    labels = _labels(shape)
    store = io.LabelStore.create(
        tmp_path / "a.ome.zarr", shape, placement=PLACE, shard=(8, 16, 16), chunk=(4, 8, 8)
    )
    path = _filled(store, labels)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.ome.zarr"]
    assert np.array_equal(zarr.open_array(path / "0", mode="r")[...], labels)
    assert io.read_record(path) == RECORD
    back = io.open_volume(path, frame=0)
    assert (back.spacing, back.unit, back.placement.translation) == ((2.0, 0.5, 0.5), "um", (10, 20, 30))
    _validated(path)
