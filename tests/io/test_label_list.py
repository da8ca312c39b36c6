"""Label images inside of an OME-Zarr image."""

import warnings

import numpy as np
import pytest

from anystar_torch import io
from anystar_torch.io.downsampling import most_frequent
from tests.io.test_label_store import RECORD, blocky, fill, validate

zarr = pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")

SHAPE = (5, 40, 41)
IMAGE = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.uint16)


def image(path, version):
    """An OME-Zarr image in nanometres with a time unit and attributes of its own."""
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    key = {"name": "v2", "separator": "/"} if version == "0.4" else None
    group.create_array("0", data=IMAGE, chunks=(5, 16, 16), chunk_key_encoding=key)
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    transforms = [
        {"type": "scale", "scale": [500, 250, 250]},
        {"type": "translation", "translation": [1000, 0, 5]},
    ]
    about = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": transforms}]}
    if version == "0.4":
        group.attrs.update({"multiscales": [{"version": "0.4", **about}], "mine": 1})
    else:
        group.attrs.update({"ome": {"version": "0.5", "multiscales": [about]}, "mine": 1})
    return path


def listed(path, version):
    attributes = zarr.open_group(path / "labels", mode="r").attrs.asdict()
    return (attributes if version == "0.4" else attributes["ome"])["labels"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_inside_of_an_image_have_its_version_and_are_listed_last(tmp_path, version):
    path = image(tmp_path / "a.ome.zarr", version)
    volume = io.open_volume(path)
    labels = blocky(SHAPE)
    store = io.LabelStore.create(
        io.Inside(volume.group, "nuclei"),
        SHAPE,
        placement=volume.placement,
        shard=(5, 32, 32),
        chunk=(5, 16, 16),
    )
    for box in store.shards():
        store.write(0, box, labels[box])
    assert not (path / "labels" / "nuclei").exists()
    fill(store, labels)
    assert listed(path, version) == ["nuclei"]
    validate(path / "labels" / "nuclei", version)
    found = zarr.open_group(path / "labels" / "nuclei", mode="r")
    about = found.attrs.asdict() if version == "0.4" else found.attrs["ome"]
    assert about["image-label"]["source"] == {"image": "../../"}
    assert {axis["unit"] for axis in about["multiscales"][0]["axes"]} == {"nanometer"}
    scale, translation = about["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [500, 250, 250]
    assert translation["translation"] == [1000, 0, 5]
    assert np.array_equal(io.read_labels(path / "labels" / "nuclei").array, labels)
    assert np.array_equal(io.read(path).array, IMAGE)
    assert zarr.open_group(path, mode="r").attrs["mine"] == 1
    io.write(io.Inside(path, "more"), labels, io.read(path), RECORD)
    assert listed(path, version) == ["nuclei", "more"]
    assert io.read_record(path / "labels" / "more") == RECORD
    with pytest.raises(ValueError, match="exists; overwrite it"):
        io.write(io.Inside(path, "more"), labels, io.read(path), overwrite=False)


def _levels(path, shapes):
    zarr.open_group(path, mode="w", zarr_format=3)
    datasets = []
    for number, shape in enumerate(shapes):
        zarr.create_array(path, name=str(number), shape=shape, dtype=np.uint16)
        scale = [n / m for n, m in zip(shapes[0], shape, strict=True)]
        datasets.append(
            {"path": str(number), "coordinateTransformations": [{"type": "scale", "scale": scale}]}
        )
    axes = [{"name": name, "type": "space"} for name in "zyx"]
    about = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    zarr.open_group(path, mode="a").attrs["ome"] = about
    return path


@pytest.mark.parametrize(
    "shapes",
    [
        [(5, 41, 43)],
        [(5, 41, 43), (5, 20, 21), (2, 10, 10)],  # without the last voxels of odd axes
        [(5, 41, 43), (5, 21, 22), (3, 11, 11)],
        [(8, 64, 64), (8, 16, 16)],
    ],
)
def test_labels_have_the_levels_of_their_image(tmp_path, shapes):
    path, labels = _levels(tmp_path / "a.zarr", shapes), blocky(shapes[0], 30)
    fill(
        io.LabelStore.create(io.Inside(path, "nuclei"), shapes[0], shard=(4, 32, 32), chunk=(4, 16, 16)),
        labels,
    )
    expected = labels
    for number, shape in enumerate(shapes):
        found = zarr.open_array(path / "labels" / "nuclei" / str(number), mode="r")
        assert found.shape == shape
        if number:
            factors = [round(n / m) for n, m in zip(shapes[number - 1], shape, strict=True)]
            expected = most_frequent(expected, factors)[tuple(map(slice, shape))]
        assert np.array_equal(found[...], expected)
    about = zarr.open_group(path / "labels" / "nuclei", mode="r").attrs["ome"]
    assert len(about["multiscales"][0]["datasets"]) == len(shapes)
    validate(path / "labels" / "nuclei")
    with pytest.raises(ValueError, match="do not fit the image of shape"):
        io.LabelStore.create(io.Inside(path, "other"), (4, 41, 43))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_consolidated_metadata_show_the_labels(tmp_path, version):
    path = image(tmp_path / "a.zarr", version)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are no part of the specification of Zarr 3
        zarr.consolidate_metadata(path)
    io.write(io.Inside(path, "nuclei"), blocky(SHAPE), io.read(path), RECORD)
    assert zarr.open_consolidated(path)["labels/nuclei/0"].shape == SHAPE


def test_labels_that_a_killed_run_did_not_list_are_listed_by_the_next(tmp_path, monkeypatch):
    path = image(tmp_path / "a.zarr", "0.5")
    with monkeypatch.context() as patch:
        patch.setattr("anystar_torch.io.label_list.add", lambda *_: None)
        io.write(io.Inside(path, "nuclei"), blocky(SHAPE), io.read(path), RECORD)
    assert not (path / "labels" / "zarr.json").exists()
    with pytest.raises(ValueError, match="exists"):
        io.LabelStore.create(io.Inside(path, "nuclei"), SHAPE)
    assert listed(path, "0.5") == ["nuclei"]


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "__x"])
def test_a_name_that_is_no_group_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="must be one word"):
        io.Inside(tmp_path, name)


def test_what_is_no_ome_zarr_image_gets_no_labels(tmp_path):
    zarr.create_array(tmp_path / "plain.zarr", data=IMAGE)
    for name in ("plain.zarr", "none.zarr"):
        with pytest.raises(ValueError, match="is no OME-Zarr image"):
            io.LabelStore.create(io.Inside(tmp_path / name, "nuclei"), SHAPE)
