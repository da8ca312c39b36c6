"""Results replace no volume, no other result, and no folder that is none; what cannot be written is said at once."""

import io as io_
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from anystar_torch import AnyStar, io
from anystar_torch.cli import main
from anystar_torch.exporting import export
from tests.cli.conftest import predict, refused, run
from tests.inference.scenes import balls, lattice

SHAPE = (24, 28, 32)
FRAMES = 3


@pytest.fixture
def unused(monkeypatch):
    """The network must not be asked: what is refused is refused before the work."""

    def asked(*arguments, **options):
        raise AssertionError("the network was asked before the outputs were checked")

    monkeypatch.setattr(AnyStar, "candidates", asked)


@pytest.mark.parametrize(
    "output", [("-o", "nuclei.tif"), ("--candidates", "nuclei.tif"), ("--table", "nuclei.tif")]
)
def test_the_volume_itself_is_never_replaced(capsys, volume, model, unused, output):
    before = volume.read_bytes()
    option, name = output
    line = refused(capsys, "predict", volume, option, volume.parent / name, "--overwrite", "--model", "m")
    assert "would replace" in line
    assert volume.read_bytes() == before


def test_another_volume_of_the_batch_is_never_replaced(capsys, volume, model, unused):
    other = volume.with_name("nuclei.labels.tif")
    other.write_bytes(volume.read_bytes())
    line = refused(capsys, "predict", volume, other, "--overwrite", "--model", "m")
    assert "nuclei.labels.tif" in line
    assert "would" in line


def test_two_results_never_share_a_name(capsys, volume, model, unused, tmp_path):
    both = tmp_path / "both.npz"
    line = refused(capsys, "predict", volume, "-o", both, "--candidates", both, "--model", "m")
    assert "two results would be written to" in line


def test_meshes_replace_meshes_and_no_other_folder(capsys, volume, model, tmp_path):
    kept = tmp_path / "mine"
    kept.mkdir()
    (kept / "precious.txt").write_text("years of work")
    for folder in (kept, tmp_path):  # the second holds the volume itself
        line = refused(capsys, "predict", volume, "--meshes", folder, "--overwrite", "--model", "m")
        assert "other content" in line
    assert (kept / "precious.txt").read_text() == "years of work"
    for _ in range(2):
        predict(capsys, volume, "--meshes", tmp_path / "meshes", "--overwrite", "--diameter", 13)
    assert all(path.suffix == ".ply" for path in (tmp_path / "meshes").iterdir())


@pytest.mark.parametrize(
    ("option", "name", "words"), [("--picture", "look.bmp", "end in"), ("--meshes", "", "other content")]
)
def test_what_cannot_be_written_is_said_before_the_work(
    capsys, volume, model, unused, tmp_path, option, name, words
):
    line = refused(capsys, "predict", volume, option, tmp_path / name, "--overwrite", "--model", "m")
    assert words in line


def test_a_trained_stardist_model_is_no_earlier_export(tmp_path):
    model = tmp_path / "stardist"
    model.mkdir()
    for name in ("weights_best.h5", "weights_last.h5"):
        (model / name).write_bytes(b"weights of days")
    trained = AnyStar.from_pretrained()
    with pytest.raises(ValueError, match="is not a StarDist model written by this package"):
        export("keras", trained.network, trained.config, model, overwrite=True)
    assert (model / "weights_last.h5").read_bytes() == b"weights of days"


def test_labels_beside_their_volumes_are_what_is_scored(capsys, volume, model, tmp_path):
    truth, data = tmp_path / "t", tmp_path / "d"
    truth.mkdir()
    data.mkdir()
    (data / "nuclei.tif").write_bytes(volume.read_bytes())
    (truth / "nuclei.tif").write_bytes((tmp_path / "truth.tif").read_bytes())
    predict(capsys, data, "--diameter", 13)
    scores = json.loads(run(capsys, "evaluate", truth, data, "--json", "--iou-thresh", 0.5))
    assert scores["nuclei"][0]["f1"] > 0.9
    (truth / "nuclei.npy").write_bytes(b"another")
    assert "both called nuclei" in refused(capsys, "evaluate", truth, data)


@pytest.mark.long
def test_candidates_of_a_batch_are_no_volumes(capsys, volume, model, tmp_path):
    predict(capsys, tmp_path, "--candidates", tmp_path, "--diameter", 13)
    assert (tmp_path / "nuclei.candidates.npz").is_file()
    said = predict(capsys, tmp_path, "--overwrite", "--diameter", 13)
    assert "2 of 2 volumes done" in said
    assert "nuclei" in run(capsys, "evaluate", tmp_path, tmp_path)


@pytest.mark.long
def test_a_time_series_is_scored_frame_by_frame(capsys, model, tmp_path):
    image, labels = balls(SHAPE, lattice(SHAPE, 14))
    frames = np.stack([(image * 60000).astype(np.uint16)] * FRAMES)
    series, truth = tmp_path / "series.tif", tmp_path / "truth.tif"
    tifffile.imwrite(series, frames, imagej=True, metadata={"axes": "TZYX"})
    tifffile.imwrite(
        truth, np.stack([labels.astype(np.uint16)] * FRAMES), imagej=True, metadata={"axes": "TZYX"}
    )
    predict(capsys, series, "--diameter", 13)
    found = tmp_path / "series.labels.tif"
    scores = json.loads(run(capsys, "evaluate", truth, found, "--json", "--iou-thresh", 0.5))
    assert list(scores) == [*(f"series.labels.tif frame {t}" for t in range(FRAMES)), "all objects"]
    for frame in range(FRAMES):
        alone = io.read(found, frame=frame).array
        assert np.array_equal(alone, io.read(found, frame=0).array)
    assert scores["all objects"][0]["n_true"] == FRAMES * labels.max()
    first = io.read(found, frame=0)
    io.write(tmp_path / "one.tif", first.array, first)
    assert "must have the same number" in refused(capsys, "evaluate", truth, tmp_path / "one.tif")


@pytest.mark.long
def test_a_folder_of_slices_may_have_dots_and_can_be_relabelled(capsys, model, tmp_path):
    image, _ = balls(SHAPE, lattice(SHAPE, 14))
    folder = tmp_path / "2024.05.01"
    folder.mkdir()
    for z, plane in enumerate((image * 60000).astype(np.uint16)):
        tifffile.imwrite(folder / f"{z:03d}.tif", plane)
    kept = tmp_path / "c.npz"
    predict(capsys, folder, "--diameter", 13, "--candidates", kept)
    written = tmp_path / "2024.05.01.labels"
    before = io.read(written).array
    run(capsys, "relabel", kept, "--overwrite")
    assert np.array_equal(io.read(written).array, before)
    tifffile.imwrite(tmp_path / "2024.05.01" / "zzz.tif", np.zeros(SHAPE, np.uint16))
    assert not io.is_volume(folder)  # a projection among volumes


@pytest.mark.parametrize("arguments", [("--prob-thresh", "nan"), ("--prob-thresh", "2")])
def test_relabel_refuses_what_predict_refuses(capsys, volume, model, tmp_path, arguments):
    kept = tmp_path / "c.npz"
    predict(capsys, volume, "--diameter", 13, "--candidates", kept)
    line = refused(capsys, "relabel", kept, "-o", tmp_path / "new.tif", *arguments)
    assert "between 0 and 1" in line


def test_a_size_below_a_voxel_is_refused_and_an_endless_memory_too(capsys, volume, model):
    assert "at least 1 voxel" in refused(capsys, "predict", volume, "--diameter", "0.1um", "--model", "m")
    assert "must be a size" in refused(capsys, "predict", volume, "--max-memory", "nanGB", "--model", "m")


def test_no_command_shows_the_help(capsys):
    assert "predict" in run(capsys)


@pytest.mark.parametrize("output", [("-o", "{}.tif"), ("--candidates", "{}.npz"), ("--picture", "{}.png")])
def test_a_result_that_cannot_be_written_is_refused_before_the_work(capsys, volume, model, unused, output):
    option, name = output
    for target in (volume.parent / name.format("n" * 300), Path("/proc") / name.format("a")):
        line = refused(capsys, "predict", volume, option, target, "--model", "m")
        assert f"cannot write {target}" in line


def test_a_long_name_is_no_obstacle(capsys, volume, model):
    long = volume.rename(volume.with_name("n" * 240 + ".tif"))
    assert "objects" in predict(capsys, long)
    assert io.read_labels(io.beside(long)).array.max() > 0


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("name", ["n\u00fcclei \u8a9e.tif", "n\udcfcclei.tif"])
def test_names_that_the_terminal_cannot_show_are_predicted_and_summarised(
    tmp_path, volume, model, monkeypatch, encoding, name
):
    """The second name is what Python makes of a file name in another encoding."""
    path = volume.rename(tmp_path / name)
    written = io_.BytesIO()
    monkeypatch.setattr(sys, "stdout", io_.TextIOWrapper(written, encoding=encoding))
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(path), "--model", "m", "--device", "cpu"])
    sys.stdout.flush()
    assert ended.value.code == 0
    assert b"objects (prob_thresh" in written.getvalue()
    assert io.read_record(io.beside(path)).source == str(path)


def test_a_dataset_of_an_hdf5_file_is_predicted_and_never_replaced(capsys, volume, model):
    h5py = pytest.importorskip("h5py")
    path = volume.with_name("a.h5")
    with h5py.File(path, "w") as file:
        file["raw"] = tifffile.imread(volume)
        file["other"] = tifffile.imread(volume)
        file["raw"].attrs["element_size_um"] = [0.5, 0.5, 0.5]
    assert "name one" in refused(capsys, "predict", path, "--model", "m", "--device", "cpu")
    named = f"{path}:/raw"
    line = refused(capsys, "predict", named, "-o", path, "--overwrite", "--model", "m", "--device", "cpu")
    assert "would replace" in line
    predict(capsys, named)
    found = io.read_labels(volume.with_name("a.raw.labels.h5"))
    assert found.spacing == (0.5, 0.5, 0.5)
    predict(capsys, volume)
    assert np.array_equal(found.array, io.read_labels(io.beside(volume)).array)
