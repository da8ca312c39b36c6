"""The command line as a user meets it: results in files, and one line with exit status 2 for what goes wrong."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from anystar_torch import io
from tests.cli.conftest import predict, refused, run


def test_predict_writes_labels_with_spacing_and_says_what_it_used(capsys, volume, model):
    said = predict(capsys, volume, "--diameter", "6.5um", "--prob-thresh", 0.55, "--nms-thresh", 0.4)
    labels = volume.with_name("nuclei.labels.tif")
    used = "prob_thresh 0.55, nms_thresh 0.4, diameter 13.0 given, normalisation minmax"
    assert f"{labels}: 12 objects ({used}) in" in said
    with tifffile.TiffFile(labels) as file:
        record = io.RunRecord.from_json(file.imagej_metadata["Info"])
    assert (record.prob_thresh, record.nms_thresh, record.diameters) == (0.55, 0.4, (13.0,))
    assert (record.diameter_source, record.normalisation, record.tta) == ("given", "minmax", False)
    assert (record.source, record.spacing, record.unit) == (str(volume), (0.5, 0.5, 0.5), "um")
    assert (record.model, record.device, record.objects) == ("m", "cpu", 12)
    assert record.precision in ("float32", "bfloat16")
    assert io.read(labels).spacing == pytest.approx((0.5, 0.5, 0.5))
    table = run(capsys, "evaluate", volume.with_name("truth.tif"), labels)
    assert "1.000" in table
    scores = json.loads(run(capsys, "evaluate", volume.with_name("truth.tif"), labels, "--json"))
    assert scores["nuclei.labels.tif"][1]["f1"] == 1
    assert "(option: --overwrite)" in refused(capsys, "predict", volume, "--model", "m")
    assert predict(capsys, volume, "--diameter", 13, "--overwrite")


@pytest.mark.long
def test_relabel_changes_thresholds_without_the_network(capsys, volume, model, tmp_path):
    stored, picture = tmp_path / "c.npz", tmp_path / "p.png"
    predict(capsys, volume, "--diameter", 13, "--candidates", stored, "--picture", picture)
    assert picture.read_bytes()[:4] == b"\x89PNG"
    same = run(capsys, "relabel", stored, "-o", tmp_path / "same.tif")
    assert "12 objects (prob_thresh 0.6, nms_thresh 0.3, diameter 13.0 given, normalisation minmax)" in same
    assert np.array_equal(
        tifffile.imread(tmp_path / "same.tif"), tifffile.imread(tmp_path / "nuclei.labels.tif")
    )
    assert "(prob_thresh 0.4," in run(
        capsys, "relabel", stored, "--prob-thresh", 0.4, "-o", tmp_path / "lower.tif"
    )
    said = run(capsys, "relabel", stored, "--prob-thresh", 0.8, "-o", tmp_path / "again.nii.gz")
    assert "12 objects (prob_thresh 0.8, nms_thresh 0.3" in said
    again = io.read_labels(tmp_path / "again.nii.gz")
    assert again.spacing == pytest.approx((0.5, 0.5, 0.5))
    assert "collected above 0.3" in refused(
        capsys, "relabel", stored, "--prob-thresh", 0.1, "-o", tmp_path / "b.tif"
    )


def test_test_time_augmentation_and_normalisation_are_options(capsys, volume, model):
    said = predict(capsys, volume, "--diameter", 13, "--tta", "--normalisation", "percentile")
    assert "12 objects" in said
    assert "normalisation percentile, tta)" in said
    with tifffile.TiffFile(volume.with_name("nuclei.labels.tif")) as file:
        record = io.RunRecord.from_json(file.imagej_metadata["Info"])
    assert (record.normalisation, record.tta) == ("percentile", True)


def test_a_diameter_that_cannot_be_is_doubted_once_and_on_record(capsys, volume, model):
    assert "warning:" not in predict(capsys, volume, "--diameter", 13)
    said = predict(capsys, volume, "--diameter", 60, "--overwrite")
    assert said.count("warning:") == 1
    assert "larger than the volume" in said
    with tifffile.TiffFile(volume.with_name("nuclei.labels.tif")) as file:
        assert "larger than the volume" in json.loads(file.imagej_metadata["Info"])["notes"][0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "nowhere.tif"], "there is no file nowhere.tif"),
        (["predict", "empty.tif"], "empty.tif is empty"),
        (["predict", "flat.tif"], "a 2D image"),
        (["predict", "rgb.tif"], "rgb.tif is a 2D image"),
        (["predict", "nan.npy"], "no finite value"),
        (["predict", "text.txt"], "an unknown format"),
        (["predict", "*.mha"], "no file matches"),
        (["predict", "good.npy", "-o", "no/where.tif"], "there is no folder no"),
        (["predict", "good.npy", "-o", "out.xyz"], "ending must be one of"),
        (["predict", "good.npy", "-o", "out.mhd"], "name it .mha"),
        (["predict", "good.npy", "--diameter", "big"], "length such as 8um"),
        (["predict", "good.npy", "--diameter", "8um"], "--spacing"),
        (["predict", "good.npy", "--max-memory", "much"], "6GB"),
        (["predict", "good.npy", "--max-memory", "1MB"], "--max-memory"),
        (["predict", "good.npy", "--normalisation", "zscore"], "percentile"),
        (["predict", "good.npy", "--device", "toaster"], "toaster"),
        (["predict", "good.npy", "--spacing", "1", "2"], "--spacing"),
        (["predict", "good.npy", "--no-such-flag"], "--no-such-flag"),
        (["evaluate", "good.npy", "nowhere.tif"], "there is no file"),
        (["evaluate", "good.npy", "good.npy"], "fractions, not labels"),
        (["relabel", "good.npy"], "no candidates file"),
        (["relabel", "nowhere.npz"], "there is no file"),
        (["gallery", "--ids", "x"], "--ids must be a range"),
        (["gallery", "-o", "no/where.png"], "there is no folder"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_errors_are_one_line(arguments, words, capsys, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.tif").touch()
    (tmp_path / "text.txt").write_text("text")
    tifffile.imwrite("flat.tif", np.zeros((8, 9), np.uint8))
    tifffile.imwrite("rgb.tif", np.zeros((8, 9, 3), np.uint8), photometric="rgb")
    np.save("nan.npy", np.full((4, 5, 6), np.nan))
    np.save("good.npy", np.random.default_rng(0).random((4, 5, 6)))
    before = sorted(p.name for p in tmp_path.iterdir())
    extra = ["--model", "m"] if arguments[0] == "predict" else []
    assert words in refused(capsys, *arguments, *extra)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_model_that_is_none_is_one_line(capsys, volume, tmp_path):
    assert "a model is a folder" in refused(capsys, "predict", volume, "--model", tmp_path)
    assert "there is no model folder" in refused(capsys, "info", tmp_path / "nowhere")


def test_evaluate_scores_every_source_and_pools_none_with_another(capsys, tmp_path):
    rng = np.random.default_rng(0)
    for source, count in (("embryos", 2), ("ovules", 1)):
        for kind in ("truth", "result"):
            (tmp_path / kind / source).mkdir(parents=True)
        for number in range(count):
            truth = rng.integers(0, 5, (6, 7, 8)).astype(np.uint16)
            result = np.where(rng.random(truth.shape) < 0.1 + 0.2 * number, 0, truth).astype(np.uint16)
            tifffile.imwrite(tmp_path / "truth" / source / f"{number}.tif", truth)
            tifffile.imwrite(tmp_path / "result" / source / f"{number}.labels.tif", result)
    arguments = ["evaluate", tmp_path / "truth", tmp_path / "result", "--iou-thresh", 0.7]
    found = json.loads(run(capsys, *arguments, "--json"))
    assert list(found) == [
        "embryos/0",
        "embryos/1",
        "ovules/0",
        "embryos: all objects",
        "ovules: all objects",
        "mean of 2 sources",
    ]
    f1 = {name: score[0]["f1"] for name, score in found.items()}
    assert found["embryos: all objects"][0]["tp"] == sum(found[f"embryos/{i}"][0]["tp"] for i in range(2))
    assert f1["ovules: all objects"] == f1["ovules/0"]
    assert f1["mean of 2 sources"] == pytest.approx((f1["embryos: all objects"] + f1["ovules/0"]) / 2)
    assert 0 < f1["embryos/1"] < f1["embryos/0"] <= 1
    assert "ovules: all objects" in run(capsys, *arguments)
    (tmp_path / "result" / "ovules" / "0.labels.tif").unlink()
    assert "no labels for ovules/0.tif" in refused(capsys, *arguments)


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_nothing_half_written(tmp_path, number):
    program = (
        "import sys, time; from anystar_torch import io; from anystar_torch.cli import main, evaluate\n"
        "def slow(*a, **k):\n"
        "    with io.atomic_write('out.tif') as t:\n"
        "        t.write_bytes(b'half'); print('ready', flush=True); time.sleep(30)\n"
        "import anystar_torch.evaluation.scores as m; m.combine = None\n"
        "evaluate.matched = slow\n"
        "main(['evaluate', 'a.tif', 'b.tif'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # a background job's children ignore it
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(number)
    err = child.communicate(timeout=20)[1]
    assert child.returncode == 130
    assert err.strip() == "anystar: interrupted; nothing was left half-written"
    assert not list(tmp_path.iterdir())


def test_importing_is_light():
    check = (
        "import sys, anystar_torch, anystar_torch.cli; "
        "print([m for m in ('torch', 'scipy', 'matplotlib', 'nibabel', 'rich.table') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", check], env=environment, text=True, capture_output=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_table_and_meshes_of_the_objects(capsys, volume, model, tmp_path):
    table, meshes = tmp_path / "t.csv", tmp_path / "meshes"
    predict(capsys, volume, "--diameter", 13, "--table", table, "--meshes", meshes)
    with open(table) as file:
        rows = list(csv.DictReader(file))
    labels = tifffile.imread(tmp_path / "nuclei.labels.tif")
    image = tifffile.imread(volume)
    assert len(rows) == 12 == len(list(meshes.iterdir()))
    for row in rows:
        inside = labels == int(row["id"])
        assert int(row["volume"]) == inside.sum()
        assert float(row["mean_intensity"]) == pytest.approx(image[inside].mean(), rel=1e-6)
        centre = np.argwhere(inside).mean(0)
        assert [float(row[a]) for a in "zyx"] == pytest.approx(centre, abs=1)
        assert float(row["z_um"]) == pytest.approx(float(row["z"]) / 2, abs=1e-3)
        assert float(row["diameter_um"]) == pytest.approx(6.5, rel=0.08)
        assert row["touches_border"] == "0"
