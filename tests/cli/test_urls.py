"""``anystar evaluate`` and ``anystar relabel`` with files in object storage, served by the test."""

import json

import numpy as np
import pytest

from anystar_torch import io
from tests.cli.conftest import predict, refused, run
from tests.object_storage import served_bucket

pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")


@pytest.fixture(scope="module")
def bucket():
    with served_bucket() as (url, _):
        yield url


def labels(shift=0):
    """Two cubes, one of which lies elsewhere by ``shift`` voxels."""
    field = np.zeros((12, 20, 30), np.int32)
    field[2:8, 2:8, 2:8] = 1
    field[2:8, 2:8, 15 + shift : 21 + shift] = 7
    return field


def scores(capsys, *arguments):
    """F1 by row and IoU threshold 0.5."""
    rows = json.loads(run(capsys, "evaluate", "--json", "--iou-thresh", "0.5", *arguments))
    return {name: group[0]["f1"] for name, group in rows.items()}


@pytest.mark.long
def test_labels_at_urls_are_scored_as_in_files(bucket, tmp_path, capsys):
    true, found = labels(), labels(shift=4)
    io.write(tmp_path / "true.tif", true, io.SpatialImage(true))
    io.write(tmp_path / "found.tif", found, io.SpatialImage(found))
    urls = f"{bucket}/true.ome.zarr", f"{bucket}/found.ome.zarr"
    for url, field in zip(urls, (true, found), strict=True):
        io.write(url, field, io.SpatialImage(field))
    assert scores(capsys, tmp_path / "true.tif", tmp_path / "found.tif") == {"found.tif": 0.5}
    assert scores(capsys, *urls) == {"found.ome.zarr": 0.5}
    assert scores(capsys, tmp_path / "true.tif", f"{urls[1]}/") == {"found.ome.zarr": 0.5}
    assert scores(capsys, urls[0], tmp_path / "true.tif") == {"true.tif": 1.0}


@pytest.mark.long
def test_what_cannot_be_scored_is_refused_in_one_line(bucket, tmp_path, capsys):
    io.write(tmp_path / "true.tif", labels(), io.SpatialImage(labels()))
    for name in ("none.ome.zarr", "true.tif"):
        line = refused(capsys, "evaluate", tmp_path / "true.tif", f"{bucket}/{name}")
        assert f"there is no Zarr at {bucket}/{name}" in line
    line = refused(capsys, "evaluate", tmp_path, f"{bucket}/none.ome.zarr")
    assert f"give two volumes or two folders, got {tmp_path} and {bucket}" in line
    line = refused(capsys, "evaluate", tmp_path / "true.tif", "unknown://host/a.zarr")
    assert "unknown://host/a.zarr is of an unknown kind" in line


@pytest.mark.long
def test_candidates_and_labels_of_relabel_may_be_at_urls(bucket, model, volume, capsys):
    import fsspec

    stored, here = volume.with_name("c.npz"), volume.with_name("again.ome.zarr")
    predict(capsys, volume, "--diameter", "12", "--candidates", stored)
    run(capsys, "relabel", stored, "-o", here, "--prob-thresh", "0.5")
    with fsspec.open(f"{bucket}/c.npz", "wb") as file:
        file.write(stored.read_bytes())
    url = f"{bucket}/again.ome.zarr"
    printed = run(capsys, "relabel", f"{bucket}/c.npz", "-o", url, "--prob-thresh", "0.5")
    assert printed.startswith(f"{url}: ")
    expected, found = io.read_labels(here), io.read_labels(url)
    assert expected.array.max() > 0
    assert np.array_equal(found.array, expected.array)
    assert found.spacing == expected.spacing == (0.5, 0.5, 0.5)
    assert io.read_record(url).objects == io.read_record(here).objects
    assert "exists; overwrite it" in refused(capsys, "relabel", f"{bucket}/c.npz", "-o", url)
    line = refused(capsys, "relabel", f"{bucket}/c.npz")
    assert f"{volume.with_name('nuclei.labels.tif')} exists" in line, "beside the source"


@pytest.mark.long
def test_candidates_that_cannot_be_used_are_refused_in_one_line(bucket, model, volume, capsys):
    import fsspec

    stored = volume.with_name("c.npz")
    predict(capsys, volume, "--diameter", "12", "--candidates", stored)
    for name, content in (("c.npz", stored.read_bytes()), ("cut.npz", stored.read_bytes()[:100])):
        with fsspec.open(f"{bucket}/{name}", "wb") as file:
            file.write(content)
    assert f"there is no file {bucket}/none.npz" in refused(capsys, "relabel", f"{bucket}/none.npz")
    assert f"{bucket}/cut.npz is no candidates file" in refused(capsys, "relabel", f"{bucket}/cut.npz")
    line = refused(capsys, "relabel", f"{bucket}/c.npz", "-o", "https://host.invalid/a.zarr")
    assert "a web server is only read" in line
