"""Zarr at URLs: object storage and a web server, both served by the test."""

import functools
import http.server
import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from anystar_torch import io
from tests.cli.conftest import refused, run
from tests.io.test_label_store import RECORD, blocky, fill
from tests.object_storage import served_bucket

zarr = pytest.importorskip("zarr")
pytest.importorskip("ome_zarr_models")
LABELS = blocky((5, 40, 17))
SMALL = {"shard": (5, 32, 32), "chunk": (5, 16, 16)}


@pytest.fixture(scope="module")
def bucket():
    """The URL of an empty bucket of S3 on this machine."""
    with served_bucket() as (url, _):
        yield url


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def site(tmp_path):
    """The URL at which a web server of this machine shows a folder."""
    pytest.importorskip("aiohttp")
    handler = functools.partial(_Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.long
def test_labels_in_object_storage(bucket):
    url = f"{bucket}/in/a/folder/a.ome.zarr"
    store = pickle.loads(pickle.dumps(io.LabelStore.create(url, LABELS.shape, **SMALL)))
    for one in (url, f"{url}/0"):
        with pytest.raises(ValueError, match="is not finished" if one == url else "no Zarr"):
            io.open_volume(one)
    with ThreadPoolExecutor(4) as running:
        list(running.map(lambda box: store.write(0, box, LABELS[box]), store.shards()))
    assert store.finish(RECORD) == url
    volume = pickle.loads(pickle.dumps(io.open_volume(url)))
    assert np.array_equal(volume[...], LABELS)
    assert np.array_equal(volume[2:5, 3:30, 9:11], LABELS[2:5, 3:30, 9:11])
    assert np.array_equal(io.read_labels(url).array, LABELS)
    assert io.read_record(url) == RECORD
    with pytest.raises(ValueError, match="exists; overwrite it"):
        io.LabelStore.create(url, LABELS.shape, **SMALL)
    fill(io.LabelStore.create(url, LABELS.shape, overwrite=True, **SMALL), LABELS[::-1])
    assert np.array_equal(io.read_labels(url).array, LABELS[::-1])
    io.write(io.Inside(url, "nuclei"), LABELS, io.SpatialImage(LABELS, (2.0, 1.0, 1.0), "um"))
    assert io.open_volume(f"{url}/labels/nuclei").spacing == (2.0, 1.0, 1.0)
    assert zarr.open_group(url, mode="r")["labels"].attrs["ome"]["labels"] == ["nuclei"]


@pytest.mark.long
def test_unfinished_labels_in_object_storage_are_continued(bucket):
    url = f"{bucket}/b.ome.zarr"
    store = io.LabelStore.create(url, LABELS.shape, **SMALL)
    first = store.shards()[0]
    store.write(0, first, LABELS[first])
    again = io.LabelStore.create(url, LABELS.shape, **SMALL)
    assert np.array_equal(again.read(0, first), LABELS[first])
    with pytest.raises(ValueError, match="of another size"):
        io.LabelStore.create(url, (5, 40, 18), **SMALL)
    again.discard()
    with pytest.raises(ValueError, match="there is no Zarr at s3://bucket"):
        io.read(url)


@pytest.mark.long
def test_a_service_that_refuses_gives_one_line(bucket):
    with pytest.raises(ValueError, match=r"^cannot write s3://nobucket/a\.zarr: .+"):
        io.LabelStore.create("s3://nobucket/a.zarr", LABELS.shape)
    with pytest.raises(ValueError, match=r"^unknown://host/a\.zarr is of an unknown kind"):
        io.open_volume("unknown://host/a.zarr")


def test_an_image_on_a_web_server(tmp_path, site):
    io.write(tmp_path / "a.ome.zarr", LABELS, io.SpatialImage(LABELS, (2.0, 1.0, 1.0), "um"), RECORD)
    series = zarr.create_group(tmp_path / "b.zarr", attributes={"ome": {"bioformats2raw.layout": 3}})
    zarr.create_group(
        series.store_path / "0", attributes=zarr.open_group(tmp_path / "a.ome.zarr").attrs.asdict()
    )
    zarr.create_array(series.store_path / "0" / "0", data=LABELS)
    for url in (f"{site}/a.ome.zarr", f"{site}/a.ome.zarr/", f"{site}/b.zarr"):
        volume = io.open_volume(url)
        assert (volume.shape, volume.spacing, volume.unit) == (LABELS.shape, (2.0, 1.0, 1.0), "um")
        assert np.array_equal(pickle.loads(pickle.dumps(volume))[3:5, 20:40, :], LABELS[3:5, 20:40])
    assert volume.group == f"{site}/b.zarr/0"
    assert io.read_record(f"{site}/a.ome.zarr") == RECORD
    assert io.frames(f"{site}/a.ome.zarr") == 1
    with pytest.raises(ValueError, match="there is no Zarr at http"):
        io.open_volume(f"{site}/none.zarr")
    with pytest.raises(ValueError, match="a web server is only read"):
        io.LabelStore.create(f"{site}/c.zarr", LABELS.shape)


@pytest.mark.long
def test_the_run_record_of_labels_at_a_url_is_shown(bucket, capsys):
    url = f"{bucket}/c.ome.zarr"
    io.write(url, LABELS, io.SpatialImage(LABELS), RECORD)
    assert json.loads(run(capsys, "info", "--json", url))["objects"] == RECORD.objects
    assert "give --work FOLDER" in refused(capsys, "predict", url, "-o", f"{bucket}/d.ome.zarr")
