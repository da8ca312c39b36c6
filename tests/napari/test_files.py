"""The files of the plugin: its manifest, samples, reader and writer."""

import csv
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tifffile

npe2 = pytest.importorskip("npe2", reason="the plugin needs the extra napari")

from napari.layers import Image, Labels, Points

import anystar_torch.napari as plugin
from anystar_torch import io
from anystar_torch.napari import points_table, reader, samples

MANIFEST = Path(plugin.__file__).parent / "napari.yaml"


@pytest.fixture
def manifest():
    return npe2.PluginManifest.from_file(MANIFEST)


def test_the_manifest_names_what_can_be_imported(manifest):
    manifest.validate_imports()
    assert manifest.contributions.widgets[0].display_name == "AnyStar segmentation"


def test_the_entry_point_of_the_package_is_the_manifest():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    place = project["entry-points"]["napari.manifest"]["anystar_torch"]
    package, _, name = place.partition(":")
    assert (package, name) == ("anystar_torch.napari", MANIFEST.name)


@pytest.mark.long
def test_synthetic_volumes_have_labels_that_are_unique(monkeypatch):
    monkeypatch.setattr(samples, "_SIDE", 32)  # a quarter of the time
    (image, attributes, kind), (labels, more, other) = samples.synthetic("plain")
    assert (kind, other) == ("image", "labels")
    assert image.shape == labels.shape == (32, 64, 96)
    assert Image(image, **attributes).axis_labels == Labels(labels, **more).axis_labels == ("z", "y", "x")
    tiles = [set(np.unique(labels[:, a : a + 32, b : b + 32])) - {0} for a in (0, 32) for b in (0, 32, 64)]
    assert sum(map(len, tiles)) == len(set().union(*tiles))


def test_the_nuclei_of_stardist_are_a_sample():
    pytest.importorskip("stardist", reason="the sample comes with the stardist package")
    (image, _, _), (labels, _, _) = samples.nuclei()
    assert image.shape == labels.shape == (31, 61, 57)


def test_without_stardist_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setattr(samples.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install stardist"):
        samples.nuclei()


@pytest.mark.long
@pytest.mark.parametrize("axes", ["ZYX", "TZYX"])
def test_the_reader_takes_the_voxel_size_of_the_file(tmp_path, axes):
    shape = {"T": 2, "Z": 4, "Y": 5, "X": 6}
    array = np.arange(np.prod([shape[a] for a in axes]), dtype=np.uint16).reshape([shape[a] for a in axes])
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.5}
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, array, metadata={"axes": axes, **sizes}, ome=True)
    ((data, attributes, kind),) = reader.reader(str(path))(str(path))
    assert np.array_equal(data, array)
    layer = Image(data, **attributes)
    assert kind == "image"
    assert layer.scale[-3:] == pytest.approx((1.5, 0.25, 0.25))
    assert [str(unit) for unit in layer.units[-3:]] == ["micrometer"] * 3
    assert layer.axis_labels == tuple(axes.lower())


def test_the_reader_leaves_other_files_alone(tmp_path):
    assert reader.reader(str(tmp_path / "a.png")) is None
    assert reader.reader(str(tmp_path)) is None


def test_points_become_a_table_with_features_and_micrometres(tmp_path):
    layer = Points(
        [[1, 2, 3], [4, 5, 6]],
        scale=(2, 0.5, 0.5),
        units="um",
        axis_labels=("z", "y", "x"),
        features={"score": [0.5, np.nan], "index": [7, 8]},
    )
    data, attributes, _ = layer.as_layer_data_tuple()
    path = tmp_path / "points.csv"
    assert points_table.write_points(str(path), data, attributes) == [str(path)]
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["z_um"] for row in rows] == ["2.0", "8.0"]
    assert [row["x_um"] for row in rows] == ["1.5", "3.0"]
    assert [row["score"] for row in rows] == ["0.5", ""]
    assert [row["index"] for row in rows] == ["7", "8"]


@pytest.mark.parametrize(
    "transform",
    [
        {"rotate": 30.0},
        {"shear": [0.2, 0.1, -0.3]},
        {"affine": [[0.0, 1.0, 0.0, 5.0], [1.0, 0.0, 0.5, 0.0], [0.0, 0.0, -1.0, 2.0], [0.0, 0.0, 0.0, 1.0]]},
    ],
    ids=["rotated", "sheared", "affine"],
)
@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_micrometres_of_points_are_those_that_napari_shows(tmp_path, transform):
    layer = Points([[1, 2, 3], [4, 5, 6]], scale=(2, 0.5, 0.5), translate=(0, 7, -3), units="um", **transform)
    data, attributes, _ = layer.as_layer_data_tuple()
    points_table.write_points(str(tmp_path / "points.csv"), data, attributes)
    with (tmp_path / "points.csv").open() as file:
        rows = list(csv.DictReader(file))
    found = [[float(row[f"{axis}_um"]) for axis in "zyx"] for row in rows]
    assert np.allclose(found, [layer.data_to_world(point) for point in layer.data], atol=1e-4)


def test_points_without_names_and_units_become_a_table(tmp_path):
    data, attributes, _ = Points([[1, 2, 3.5]]).as_layer_data_tuple()
    points_table.write_points(str(tmp_path / "points.csv"), data, attributes)
    assert (tmp_path / "points.csv").read_text() == "z,y,x\n1.0,2.0,3.5\n"


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="no"):
        points_table.write_points(str(tmp_path / "no" / "folder.csv"), np.zeros((1, 3)), {})
    assert io.volumes(tmp_path) == []
