"""Columns of the table of objects in their units, and the corners of meshes."""

import math

import numpy as np
import pytest

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.candidates import Candidates
from anystar_torch.inference.instances import Instances, render_instances
from anystar_torch.inference.object_table import object_meshes, object_table
from anystar_torch.inference.scaling import Scaling

RAYS = Rays.golden_spiral(32)
SPACING = (2.0, 0.5, 0.25)  # micrometres


def instances(labels, points):
    count = len(points)
    return Instances(
        labels=labels,
        points=np.array(points, np.float32),
        distances=np.linspace(1, 2, 32 * count).reshape(count, 32).astype(np.float32),
        scores=np.linspace(0.9, 0.5, count).astype(np.float32),
        rays=RAYS,
        prob_thresh=0.5,
        nms_thresh=0.3,
        diameter=3.0,
    )


@pytest.fixture
def found():
    labels = np.zeros((8, 9, 10), np.int32)
    labels[1:3, 2:6, 3:8], labels[6:8, 1:3, 1:3] = 1, 2
    return instances(labels, [(1.5, 3.5, 5.0), (6.5, 1.5, 1.5)])


def test_every_column_has_its_unit(found):
    """40 voxels of 0.25 cubic micrometres, with grey values 1 to 720 in the order of the voxels."""
    image = np.arange(1.0, 721.0).reshape(8, 9, 10)
    first, second = object_table(found, image, SPACING)
    volume = 40 * 2.0 * 0.5 * 0.25
    diameter = (6 * volume / math.pi) ** (1 / 3)
    assert first == {
        "id": 1,
        "score": 0.9,
        "volume": 40,
        "z": 1.5,
        "y": 3.5,
        "x": 5.0,
        "diameter": pytest.approx(diameter / 0.25, abs=1e-3),
        "touches_border": 0,
        "mean_intensity": pytest.approx(image[found.labels == 1].mean()),
        "z_um": 3.0,
        "y_um": 1.75,
        "x_um": 1.25,
        "volume_um3": pytest.approx(volume),
        "diameter_um": pytest.approx(diameter, abs=1e-4),
    }
    assert (second["id"], second["touches_border"], second["score"]) == (2, 1, 0.5)


@pytest.mark.parametrize(("spacing", "unit"), [(None, "um"), (SPACING, "")])
def test_without_spacing_or_unit_there_are_no_micrometres(found, spacing, unit):
    row, _ = object_table(found, np.ones(found.labels.shape), spacing, unit)
    assert not [name for name in row if "_um" in name]
    voxels = 40 if spacing is None else 40 * 2.0 / 0.25 * 0.5 / 0.25  # of the finest axis
    assert row["diameter"] == pytest.approx((6 * voxels / math.pi) ** (1 / 3), abs=1e-3)


def test_corners_of_meshes_are_x_y_z_in_the_unit_of_the_spacing(found):
    mesh = object_meshes(found, SPACING)[1]
    for ray in (0, 7, 31):
        z, y, x = found.points[1] + found.distances[1, ray] * RAYS.vertices[ray].numpy()
        assert mesh[ray] == pytest.approx([0.25 * x, 0.5 * y, 2.0 * z], rel=1e-5)
    assert np.array_equal(object_meshes(found)[0][:, ::-1].shape, (32, 3))


def test_hidden_objects_are_left_out_of_every_array():
    """The second candidate lies inside of the first one. The volume has half as many voxels along z."""
    points = np.array([(20, 20, 20), (20, 20, 21), (20, 20, 50)], np.float32)
    radii = np.array([9, 3, 6], np.float16)
    candidates = Candidates(
        points=points,
        distances=np.repeat(radii[:, None], 32, 1),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        rays=RAYS,
        scaling=Scaling((20, 40, 70), (40, 40, 70)),
        diameter=12.0,
        prob_thresh=0.5,
    )
    made = render_instances(candidates, np.ones(3, bool), 1.0, shape_averaging=False)
    assert made.scores == pytest.approx([0.9, 0.7])
    assert made.points == pytest.approx(np.array([(9.75, 20, 20), (9.75, 20, 50)]))
    assert np.unique(made.labels).tolist() == [0, 1, 2]
    assert made.labels[10, 20, 50] == 2
    assert len(made) == 2
    along_z = np.abs(made.rays.vertices[:, 0].numpy()) > 0.999
    assert along_z.sum() == 2
    assert made.distances[:, along_z] == pytest.approx(np.array([[4.5, 4.5], [3, 3]]), rel=1e-3)
    assert made.distances.max(1) == pytest.approx([9, 6], rel=0.01)
