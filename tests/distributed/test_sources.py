"""Which volumes and options a prediction block by block takes, and which it refuses before the work."""

import numpy as np
import pytest
import torch
import zarr

from anystar_torch.distributed import predict
from tests.distributed.cases import OPTIONS, model, stored


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        (np.zeros((2, 8, 8, 8), np.uint8), ValueError, r"^the volume is 4D \(2 x 8 x 8 x 8\)"),
        (zarr.array(np.zeros((8, 8), np.uint8)), ValueError, r"^the volume is a 2D image \(8 x 8\)"),
        (np.zeros((0, 8, 8), np.uint8), ValueError, "^the volume holds no voxels"),
        (np.zeros((8, 8, 8), np.complex64), TypeError, "^volume must hold real numbers, got complex64"),
        (zarr.array(np.zeros((8, 8, 8), np.complex64)), TypeError, "must hold real numbers, got complex64"),
        (["a.tif", "b.tif"], TypeError, "must be a path, a URL or an array, got str"),
    ],
)
def test_what_is_no_volume_of_real_numbers_is_refused_before_the_work(
    tmp_path, network, source, error, message
):
    with pytest.raises(error, match=message):
        predict(source, tmp_path / "labels.ome.zarr", model=network, **OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [{"channel": 1}, {"frame": 0}, {"axes": "ZYX"}, {"scene": "2"}])
def test_an_option_that_chooses_in_a_file_is_refused_for_an_array(tmp_path, network, volume, options):
    for source in (volume, [volume, volume]):
        with pytest.raises(ValueError, match=rf"^{next(iter(options))}: only a file"):
            predict(source, tmp_path / "labels.ome.zarr", model=network, **OPTIONS, **options)


@pytest.mark.long
def test_masked_voxels_have_no_value_and_a_tensor_is_a_volume(tmp_path, network, volume):
    bright = np.ma.masked_greater(volume, np.median(volume[volume > 300]))
    for number, source in enumerate((bright, torch.from_numpy(volume.astype(np.float32)))):
        result = predict(source, tmp_path / f"{number}.ome.zarr", model=network, **OPTIONS)
        expected = network.predict(source, diameter=13, device="cpu", progress=False)
        assert len(expected) > 5
        assert np.array_equal(stored(result.target), expected.labels)


def test_lists_of_numbers_are_options_too(tmp_path, network, volume):
    numbers = {"spacing": [2.0, 1, 1], "shard": [32, 32, 32]}
    result = predict(volume, tmp_path / "labels.ome.zarr", model=network, **OPTIONS | numbers)
    assert result.record.spacing == (2, 1, 1)
    with pytest.raises(ValueError, match=r"shard must be three numbers of voxels .*, got \(32, 32\)"):
        predict(volume, tmp_path / "b.ome.zarr", model=network, **OPTIONS | {"shard": (32, 32)})


def test_too_little_memory_is_told_without_the_advice_to_do_what_is_done(tmp_path, volume):
    network = model(coarse_pass=False, max_memory=1e8)
    with pytest.raises(ValueError, match=r"^the program takes .* may be used; raise max_memory$"):
        predict(volume, tmp_path / "labels.ome.zarr", model=network, **OPTIONS)
