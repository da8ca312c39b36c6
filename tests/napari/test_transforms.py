"""Rotated, sheared and affine layers: results lie over the image, and the voxel size is that of the whole transform."""

import numpy as np
import pytest

pytest.importorskip("napari", reason="the plugin needs the extra napari")

from napari.layers import Image, Labels

from anystar_torch.inference.instances import Instances
from anystar_torch.napari.background import Progress
from anystar_torch.napari.large import labels_layer
from anystar_torch.napari.layer_volume import LayerVolume
from anystar_torch.napari.segmentation import segment
from anystar_torch.napari.segmenter import Preview, Target

SHAPE = (4, 5, 6)
ROTATION = [[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]]
AFFINE = np.array([[1, 0, 0, 5], [0, 2, 0.5, 0], [0, 0, 2, 1], [0, 0, 0, 1]], float)
TRANSFORMS = [
    {"rotate": ROTATION},
    {"shear": [0.2, 0.1, 0.3]},
    {"affine": AFFINE},
    {"rotate": ROTATION, "shear": [0.2, 0.1, 0.3], "affine": AFFINE},
]


def embedded(matrix, ndim):
    """The matrix of the last dimensions as one of all dimensions."""
    matrix = np.asarray(matrix, float)
    whole = np.eye(ndim)
    whole[ndim - len(matrix) :, ndim - len(matrix) :] = matrix
    return whole


def image(data, transform):
    more = data.ndim - 3
    given = dict(transform)
    if more and "rotate" in given:
        given["rotate"] = embedded(given["rotate"], data.ndim)
    if more and "affine" in given:
        given["affine"] = embedded(given["affine"], data.ndim + 1)
    if more and "shear" in given:
        xy, xz, yz = given["shear"]
        given["shear"] = np.array([[1, 0, 0, 0], [0, 1, xy, xz], [0, 0, 1, yz], [0, 0, 0, 1]])
    scale, translate = (1.0,) * more + (2.0, 0.5, 0.5), (0.0,) * more + (3.0, 4.0, 5.0)
    return Image(
        data, name="turned", scale=scale, translate=translate, axis_labels="tzyx"[-data.ndim :], **given
    )


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("ndim", [3, 4])
def test_labels_and_previews_lie_over_the_image(state, transform, ndim):
    data = np.zeros((2, *SHAPE)[4 - ndim :], np.float32)
    layer = state.viewer.add_layer(image(data, transform))
    state.image = layer
    volume = state.volume()
    corner = (1.0,) * (ndim - 3) + (3.0, 4.0, 5.0)
    shown = state.add_result(segment(state.segmenter(), state.targets(), 13.0, Progress()))
    assert np.allclose(shown.layer.data_to_world(corner), layer.data_to_world(corner))
    assert np.allclose(shown.centres().data_to_world(corner), layer.data_to_world(corner))
    found = shown.result.objects(0)
    part = Instances(**{**vars(found), "labels": np.ones((2, 2, 2), np.int32)})
    preview = state.add_preview(Preview(part, (1, 2, 3)), volume, 0, ndim - 3)
    inside = np.subtract(corner, (1,) * (ndim - 3) + (1, 2, 3))
    assert np.allclose(preview.data_to_world(inside), layer.data_to_world(corner))


def test_the_spacing_is_that_of_the_whole_transform():
    layer = Image(np.zeros(SHAPE), affine=np.diag([2, 0.5, 0.5, 1]), units="um")
    assert LayerVolume.of(layer).spacing == ((2, 0.5, 0.5), "um")
    layer = Image(
        np.zeros(SHAPE), scale=(1, 2, 2), rotate=ROTATION, affine=np.diag([2, 0.5, 0.5, 1]), units="um"
    )
    assert LayerVolume.of(layer).spacing[0] == pytest.approx((2, 1, 1))
    assert LayerVolume.of(Image(np.zeros(SHAPE), rotate=ROTATION)).spacing == (None, "")


def test_an_entered_voxel_size_counts_the_affine_matrix(state):
    state.image = state.viewer.add_image(np.zeros(SHAPE), affine=np.diag([2, 0.5, 0.5, 1]), scale=(-1, 1, 1))
    state.set_spacing((3.0, 1.0, 1.0))
    assert state.volume().spacing == ((3, 1, 1), "um")
    assert state.image.scale.tolist() == [-1.5, 2, 2]


@pytest.mark.parametrize(("letters", "shape"), [("tczyx", (3, 1, *SHAPE)), ("ztcyx", (4, 3, 1, 5, 6))])
def test_labels_beyond_memory_have_the_dimensions_of_the_image(tmp_path, letters, shape):
    zarr = pytest.importorskip("zarr", reason="labels beyond memory are OME-Zarr")
    labels = np.arange(3 * 4 * 5 * 6, dtype=np.int32).reshape(3, *SHAPE)
    group = zarr.open_group(tmp_path / "labels.ome.zarr", mode="w")
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    group.create_array("0", data=labels)
    sizes = {"t": 3, "c": 2, **dict(zip("zyx", SHAPE, strict=True))}
    scale = [{"z": 2.0}.get(letter, 1.0) for letter in letters]
    source = Image(np.zeros([sizes[letter] for letter in letters]), axis_labels=letters, scale=scale)
    layer = labels_layer(tmp_path / "labels.ome.zarr", Target(LayerVolume.of(source), 0, 1))
    assert isinstance(layer, Labels)
    assert (layer.data.shape, layer.axis_labels) == (shape, tuple(letters))
    assert layer.scale.tolist() == scale
    place = {"t": 2, "c": 0, "z": 3, "y": 1, "x": 4}
    assert int(layer.data[tuple(place[letter] for letter in letters)]) == labels[2, 3, 1, 4]
    assert layer.translate.tolist() == [float(letter == "c") for letter in letters]
