"""Block by block, a prediction finds the labels of the prediction in memory, voxel for voxel."""

import numpy as np
import pytest

from anystar_torch.distributed import predict
from tests.distributed.cases import crowd, model, stored


@pytest.fixture(scope="module")
def volume():
    return crowd()


@pytest.mark.parametrize(
    ("block", "shard", "options"),
    [
        (24, (32, 64, 32), {}),
        pytest.param(1, (16, 32, 100), {"coarse_pass": False}, marks=pytest.mark.long),
        pytest.param(1000, (256, 256, 256), {"shape_averaging": False}, marks=pytest.mark.long),
        pytest.param(24, (32, 32, 32), {"tta": True}, marks=pytest.mark.slow),
    ],
)
def test_labels_are_those_in_memory(tmp_path, volume, block, shard, options):
    network = model(**options)
    volume = volume[:24, :40] if options.get("tta") else volume
    expected = network.predict(volume, diameter=13, device="cpu", progress=False)
    target = tmp_path / "labels.ome.zarr"
    result = predict(
        volume, target, model=network, diameter=13, block=block, shard=shard, device="cpu", progress=False
    )
    assert result.objects == len(expected) > 5
    assert np.array_equal(stored(target), expected.labels)
    assert [str(warning) for warning in result.warnings] == [str(warning) for warning in expected.warnings]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.ome.zarr"]
