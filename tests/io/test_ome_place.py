"""Crops in OME-Zarr keep their place: labels have the same scale and translation, in Zarr and in other formats."""

import nibabel
import numpy as np
import pytest

from anystar_torch import io

zarr = pytest.importorskip("zarr")
VOLUME = np.random.default_rng(0).integers(0, 900, (4, 5, 6)).astype(np.uint16)


def _image(path, level, image=(), names="zyx", unit="micrometer"):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=VOLUME.transpose(["zyx".index(name) for name in names]))
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit else {})} for name in names]
    described = {
        "version": "0.4",
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": level}],
    }
    group.attrs["multiscales"] = [{**described, **({"coordinateTransformations": image} if image else {})}]
    return path


def _transforms(path):
    about = zarr.open_group(path, mode="r").attrs["ome"]["multiscales"][0]
    return about["datasets"][0]["coordinateTransformations"]


LEVEL = [{"type": "scale", "scale": [2, 0.5, 0.25]}, {"type": "translation", "translation": [10, 20, 30]}]


def test_labels_of_a_crop_keep_its_translation(tmp_path):
    found = io.read(_image(tmp_path / "a.zarr", LEVEL))
    assert found.spacing == (2, 0.5, 0.25)
    expected = np.diag([0.25e-3, 0.5e-3, 2e-3, 1])
    expected[:3, 3] = [30e-3, 20e-3, 10e-3]
    np.testing.assert_allclose(found.affine, expected)
    io.write(tmp_path / "b.zarr", VOLUME % 5, found)
    scale, translation = _transforms(tmp_path / "b.zarr")
    assert scale["scale"] == [2, 0.5, 0.25]
    np.testing.assert_allclose(translation["translation"], [10, 20, 30])
    io.write(tmp_path / "b.nii.gz", VOLUME % 5, found)
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii.gz").affine, expected, rtol=1e-6)


def test_transforms_of_level_and_image_are_applied_in_order(tmp_path):
    image = [{"type": "scale", "scale": [1, 2, 2]}, {"type": "translation", "translation": [5, 0, 1]}]
    found = io.read(_image(tmp_path / "a.zarr", LEVEL, image))
    assert found.spacing == (2, 1, 0.5)
    np.testing.assert_allclose(found.affine[:3, 3] * 1000, [61, 40, 15])


def test_other_orders_and_units(tmp_path):
    level = [
        {"type": "scale", "scale": [250, 500, 2000]},
        {"type": "translation", "translation": [30e3, 20e3, 10e3]},
    ]
    found = io.read(_image(tmp_path / "a.zarr", level, names="xyz", unit="nanometer"))
    assert np.array_equal(found.array, VOLUME)
    np.testing.assert_allclose(found.affine[:3, 3] * 1000, [30, 20, 10])
    np.testing.assert_allclose(np.diag(found.affine)[:3] * 1000, [0.25, 0.5, 2])


def test_a_translation_without_a_unit_is_kept_as_it_is(tmp_path):
    found = io.read(_image(tmp_path / "a.zarr", LEVEL, unit=None))
    assert found.affine is None
    io.write(tmp_path / "b.zarr", VOLUME % 5, found)
    assert _transforms(tmp_path / "b.zarr")[1]["translation"] == [10, 20, 30]


def test_without_a_translation_nothing_changes(tmp_path):
    found = io.read(_image(tmp_path / "a.zarr", LEVEL[:1]))
    assert found.affine is None
    io.write(tmp_path / "b.zarr", VOLUME % 5, found)
    assert len(_transforms(tmp_path / "b.zarr")) == 1


@pytest.mark.parametrize("scale", [[2, 2, 2], [20, 5, 10]])
def test_the_translation_goes_with_renamed_axes(tmp_path, scale):
    level = [{"type": "scale", "scale": scale}, LEVEL[1]]
    found = io.read(_image(tmp_path / "a.zarr", level, unit="nanometer"), axes="XYZ")
    assert np.array_equal(found.array, VOLUME.T)
    io.write(tmp_path / "b.zarr", VOLUME.T % 5, found)
    written, translation = _transforms(tmp_path / "b.zarr")
    assert written["scale"] == scale[::-1]
    assert translation["translation"] == [30, 20, 10]
    again = io.read(tmp_path / "b.zarr")
    assert again.spacing == pytest.approx(found.spacing)


def test_the_translation_goes_with_renamed_axes_where_the_voxel_size_is_given(tmp_path):
    found = io.read(_image(tmp_path / "a.zarr", LEVEL), axes="XYZ", spacing=(1, 2, 3))
    io.write(tmp_path / "b.zarr", VOLUME.T % 5, found)
    scale, translation = _transforms(tmp_path / "b.zarr")
    assert scale["scale"] == [1, 2, 3]
    np.testing.assert_allclose(translation["translation"], [30, 20, 10])
