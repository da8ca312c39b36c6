"""Masks that are much smaller than the volume, or of another resolution."""

import itertools
import pickle

import numpy as np
import pytest

from anystar_torch.distributed import intensity, predict, preparation
from anystar_torch.distributed.beginning import begin
from anystar_torch.distributed.blocks import Boxes
from anystar_torch.distributed.mask import VolumeMask
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import ObjectSize
from tests.distributed.cases import crowd, model
from tests.distributed.test_options import OPTIONS, job_of


@pytest.fixture(scope="module")
def network():
    return model(coarse_pass=False)


@pytest.mark.parametrize("resolution", [(2, 3, 5), (7, 8, 9), (14, 9, 11)])
def test_every_voxel_of_a_mask_is_met_by_a_box(resolution):
    shape = (10, 9, 11)
    boxes = Boxes(shape, (4, 3, 5))
    for place in itertools.product(*map(range, resolution)):
        inside = np.zeros(resolution, bool)
        inside[place] = True
        mask = VolumeMask(inside)
        for name in boxes.names():
            box = boxes.box(name)
            shared = all(
                a * own < (k + 1) * n and k * n < b * own
                for a, b, k, own, n in zip(*box, place, resolution, shape, strict=True)
            )
            assert mask.meets(box, shape) == shared


def test_the_nearest_point_inside_is_in_the_box():
    inside = np.zeros((4, 4, 4), bool)
    inside[0, 0, 0] = inside[3, 3, 3] = inside[2, 3, 3] = True
    mask, shape = VolumeMask(inside), (8, 8, 16)
    box, point = ((4, 4, 8), (8, 8, 16)), np.array([5.0, 4.5, 9.0])
    assert mask.nearest(point, box, shape).tolist() == [5, 6, 12]  # the one at the origin is not in the box
    assert mask.nearest(np.array([7.0, 7.0, 15.0]), box, shape).tolist() == [7, 7, 15]


@pytest.mark.parametrize("resolution", [(64, 96, 128), (192, 192, 256)])
def test_the_size_is_estimated_inside_of_a_small_mask(tmp_path, network, monkeypatch, resolution):
    volume = np.random.default_rng(0).random((64, 96, 128), np.float32)
    inside = np.zeros(resolution, np.uint8)
    place = np.array([0.05, 0.35, 0.9]) * resolution  # far from the centre of a cell
    inside[tuple(place.astype(int))] = 1
    monkeypatch.setattr(preparation, "EXAMINED", 1000)
    monkeypatch.setattr(preparation, "_PART", 8)
    monkeypatch.setattr(preparation, "_estimate", lambda job, part: ObjectSize(float(part.voxels.size)))
    job = job_of(tmp_path, network, volume, mask=inside)
    limits = IntensityRange(0.0, 1.0, False)
    (box,) = preparation.busiest_boxes(job, limits)
    assert job.mask.meets(box, volume.shape)
    assert preparation._object_size(job, limits).diameter == 8**3


def test_tasks_get_the_file_of_a_mask_and_not_its_voxels(tmp_path, network):
    mask = np.random.default_rng(0).random((64, 64, 64)) > 0.5
    job = job_of(tmp_path, network, np.zeros((9, 9, 9), np.uint8), mask=mask, diameter=13)
    begin(tmp_path, tmp_path / "labels.ome.zarr", [job], network, False)
    sent = pickle.dumps(job)
    assert len(sent) < mask.size / 10
    assert np.array_equal(pickle.loads(sent).mask.inside, mask)
    (tmp_path / "mask.npy").unlink()
    with pytest.raises(ValueError, match=r"^cannot read .*mask\.npy: No such file"):
        pickle.loads(sent)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((4, 4)), r"^the mask is a 2D image \(4 x 4\)"),
        (np.ones((2, 4, 4, 4)), r"^the mask is 4D \(2 x 4 x 4 x 4\)"),
    ],
)
def test_a_mask_that_is_no_volume_is_refused_before_the_work(tmp_path, network, mask, message):
    volume = crowd((40, 48, 60), 30)
    with pytest.raises(ValueError, match=message):
        predict(volume, tmp_path / "labels.ome.zarr", model=network, mask=mask, **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_mask_of_another_shape_is_another_mask(tmp_path, network):
    volume, masks = np.zeros((9, 9, 9), np.uint8), [np.ones(shape) for shape in ((2, 3, 4), (4, 3, 2))]
    first, second = (job_of(tmp_path, network, volume, mask=mask, diameter=13) for mask in masks)
    begin(tmp_path, tmp_path / "labels.ome.zarr", [first], network, False)
    with pytest.raises(ValueError, match=r"other settings \(mask\)"):
        begin(tmp_path, tmp_path / "labels.ome.zarr", [second], network, False)


def test_a_mask_between_the_centres_of_voxels_is_refused_in_one_line(tmp_path, network, monkeypatch):
    monkeypatch.setattr(intensity, "_BOX", 20)
    volume = crowd((40, 48, 60), 30)
    mask = np.zeros((120, 144, 180), np.uint8)
    mask[59, 59, 59] = 1  # the last third of a voxel at the end of a box
    with pytest.raises(ValueError, match=r"^the mask covers the centre of no voxel with a finite value"):
        predict(volume, tmp_path / "labels.ome.zarr", model=network, mask=mask, **OPTIONS)
