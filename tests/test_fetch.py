"""``--fetch`` of the real volumes, from archives that a server on this machine hands out."""

import functools
import hashlib
import http.server
import threading
import zipfile
from io import BytesIO

import numpy as np
import pytest
import tifffile

from benchmarks.real_volumes import fetch, volumes

IMAGE = np.random.default_rng(0).integers(0, 60000, (5, 6, 7)).astype(np.uint16)
LABELS = (np.arange(IMAGE.size).reshape(IMAGE.shape) // 70 * 3).astype(np.uint8)  # ids 0, 3, 6


def sha(data):
    return hashlib.sha256(data).hexdigest()


def packed(member, voxels):
    """A ZIP archive with one TIFF."""
    tiff, archive = BytesIO(), BytesIO()
    tifffile.imwrite(tiff, voxels)
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(member, tiff.getvalue())
    return archive.getvalue()


class Server:
    """A folder as a web server. ``asked`` are the files it was asked for."""

    def __init__(self, folder):
        self.folder, self.asked = folder, []
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *arguments):
                server.asked.append(self.path)

        handler = functools.partial(Handler, directory=folder)
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def hands_out(self, name, content):
        (self.folder / name).write_bytes(content)
        return fetch.Archive(f"http://127.0.0.1:{self.http.server_port}/{name}", sha(content))


@pytest.fixture
def server(tmp_path):
    (tmp_path / "server").mkdir()
    server = Server(tmp_path / "server")
    yield server
    server.http.shutdown()
    server.http.server_close()


@pytest.fixture
def given(server, tmp_path):
    """The arguments of a fetch of one volume."""
    dense = (LABELS // 3).astype("<u2")
    volume = fetch.Published("embryo", "Emb01", "2 1 1", "4.5", sha(IMAGE.tobytes()), sha(dense.tobytes()))
    return {
        "volumes": [volume],
        "images": server.hands_out("Images.zip", packed(fetch.IMAGE_MEMBER.format("Emb01"), IMAGE)),
        "truth": server.hands_out("Truth.zip", packed(fetch.TRUTH_MEMBER.format("Emb01"), LABELS)),
        "cache": tmp_path / "cache",
    }


def test_what_is_fetched_can_be_scored(given, server, tmp_path):
    folder = tmp_path / "volumes"
    assert fetch.fetch(folder, **given) == [{"volume": "embryo", "state": "written"}]
    (volume,) = volumes.read(folder)
    assert (volume.name, volume.spacing, volume.diameter) == ("embryo", (2.0, 1.0, 1.0), 4.5)
    np.testing.assert_array_equal(volume.image, IMAGE)
    np.testing.assert_array_equal(volume.truth, LABELS)
    assert server.asked == ["/Images.zip", "/Truth.zip"]


def test_nothing_is_downloaded_or_replaced_twice(given, server, tmp_path):
    fetch.fetch(tmp_path / "volumes", **given)
    (tmp_path / "volumes" / "embryo" / "spacing.txt").write_text("mine")
    assert fetch.fetch(tmp_path / "volumes", **given) == [{"volume": "embryo", "state": "there already"}]
    assert (tmp_path / "volumes" / "embryo" / "spacing.txt").read_text() == "mine"
    fetch.fetch(tmp_path / "elsewhere", **given)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda g: {"images": g["images"]._replace(sha256="0" * 64)},
            "Images.zip cannot be used: SHA256 hash",
        ),
        (
            lambda g: {"truth": g["truth"]._replace(url=g["truth"].url + "x")},
            "Truth.zipx cannot be used: HTTP Error 404",
        ),
        (lambda g: {"truth": g["images"]}, "has no GroundTruth/train"),
        (
            lambda g: {"volumes": [g["volumes"][0]._replace(image="0" * 64)]},
            "voxels of its image are not those",
        ),
        (lambda g: {"volumes": [g["volumes"][0]._replace(labels="0" * 64)]}, "voxels of its labels are not"),
    ],
)
def test_what_is_not_the_published_volume_is_refused_in_one_line(given, tmp_path, change, said):
    with pytest.raises(SystemExit, match=said) as refusal:
        fetch.fetch(tmp_path / "volumes", **{**given, **change(given)})
    assert "\n" not in str(refusal.value)
    assert not list((tmp_path / "volumes").iterdir())


def test_the_volume_of_the_stardist_package_needs_no_network(tmp_path):
    pytest.importorskip("stardist")
    fetch.fetch(tmp_path, [fetch.PACKAGED])
    (volume,) = volumes.read(tmp_path)
    assert (volume.image.shape, np.unique(volume.truth).size) == ((31, 61, 57), 52)


def test_checksums_are_those_of_the_volumes_of_the_results(shared_data):
    for volume in (fetch.PACKAGED, *fetch.EMBRYOS):
        folder = shared_data / "real" / volume.name
        image, labels = (tifffile.imread(folder / f"{name}.tif") for name in ("image", "labels"))
        fetch.check(volume, image, labels)
        assert (folder / "spacing.txt").read_text().splitlines()[:2] == [volume.spacing, volume.diameter]


def test_every_volume_is_fetched_or_named(shared_data):
    known = {volume.name for volume in (fetch.PACKAGED, *fetch.EMBRYOS)} | set(fetch.SHARED_ONLY)
    assert {place.name for place in (shared_data / "real").iterdir() if place.is_dir()} == known


def test_the_command_names_licences_and_what_it_does_not_fetch(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(fetch, "fetch", lambda folder: [{"volume": "a", "state": "written"}])
    fetch.run([str(tmp_path)])
    printed = capsys.readouterr().out
    assert "CC BY 3.0" in printed
    assert "not fetched: gonuclear_1135: " in printed
