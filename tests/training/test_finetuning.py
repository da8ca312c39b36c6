"""``+experiment=finetune`` as a user runs it, on a small volume and from a small model."""

import csv
import json
import os
import re
import signal
import time

import numpy as np
import pytest
import tifffile
import torch
from hydra import compose, initialize_config_dir

from anystar_torch import AnyStar
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.training.budget import validations
from anystar_torch.training.checkpoints import averaged_weights
from anystar_torch.training.thresholds import scores_of
from tests.training.annotated import volume, write_start
from tests.training.processes import Training
from tests.training.runs import assert_same_weights, losses, measured_receptive_field

STEPS = 14


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return write_start(tmp_path_factory.mktemp("given"))


def overrides(given, folder, *others):
    annotated = f"[{{image: {given / 'a.tif'}, labels: {given / 'a_labels.tif'}, spacing: [1,1,1]}}]"
    return [
        "+experiment=finetune",
        f"data.annotated={annotated}",
        f"warm_start={given / 'start'}",
        f"run_folder={folder}",
        "shape=[16,16,16]",
        f"trainer.max_steps={STEPS}",
        f"trainer.val_check_interval={STEPS // 2}",
        "trainer.precision=32-true",
        "trainer.accelerator=cpu",
        "trainer.log_every_n_steps=1",
        "data.validation_samples=2",
        "callbacks.scores.samples=1",
        "callbacks.scores.pictures=0",
        "callbacks.checkpoint.every_n_steps=1",
        "callbacks.samples.samples=0",
        "report.samples=1",
        *others,
    ]


@pytest.fixture(scope="module")
def whole(given, tmp_path_factory):
    folder = tmp_path_factory.mktemp("finetuned") / "run"
    code, output = Training.forked(folder.parent, overrides(given, folder)).ended()
    assert code == 0, output
    return folder, output


@pytest.mark.long
def test_a_run_tells_what_it_gained_and_leaves_a_model(whole):
    folder, output = whole
    assert "held-out objects" in output
    assert "synthetic volume" in output
    told = json.loads((folder / "finetuning.json").read_text())
    assert [set(one) for one in told["scores"]] == [{"scored on", "before", "after"}] * 2
    for name in ("annotation_before.png", "annotation_after.png", "synthetic_before_after.png"):
        assert (folder / name).is_file()
        assert name in output
    model = AnyStar.from_pretrained(folder / "model")
    assert model.config.diameter_band == (5.0, 10.0, 15.0)  # that of the start
    assert model.config.provenance.notes["fine-tuned on"] == ["a"]
    assert model.config.receptive_field == measured_receptive_field(model)
    assert model.predict(volume()[0], diameter=10, progress=False).labels.shape == (24, 28, 90)
    assert len(losses(folder)) == STEPS


@pytest.mark.skipif(os.name != "posix", reason="Windows sends no signals to other processes")
@pytest.mark.long
def test_stopped_and_resumed_is_the_run_uninterrupted(given, whole, tmp_path):
    folder = tmp_path / "run"
    training = Training.forked(tmp_path, overrides(given, folder, "callbacks.checkpoint.every_n_steps=3"))
    while not (folder / "checkpoints" / "last.ckpt").is_file():
        assert training.poll() is None, training.ended()
        time.sleep(0.01)
    os.kill(training.pid, signal.SIGTERM)
    assert training.ended()[0] == 130
    code, output = Training.forked(tmp_path, overrides(given, folder, f"resume={folder}")).ended()
    assert code == 0, output
    assert_same_weights(folder, whole[0])


@pytest.mark.long
def test_wrong_annotations_end_in_one_line_before_training(given, tmp_path):
    tifffile.imwrite(tmp_path / "labels.tif", np.zeros((24, 28, 90), np.uint8))
    annotated = f"data.annotated=[{{image: {given / 'a.tif'}, labels: {tmp_path / 'labels.tif'}}}]"
    words = [word for word in overrides(given, tmp_path / "run", annotated) if "max_steps" not in word]
    code, output = Training.forked(tmp_path, words).ended()  # with the budget of the recipe
    assert code == 2
    (line,) = output.strip().splitlines()
    assert "has no objects" in line
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.long
def test_fine_tuning_finds_the_objects_of_a_volume(given, tmp_path):
    """From a network that finds nothing, in seconds: the first half of the volume teaches the second half."""
    image, labels = volume()
    truth = labels[:, :, 48:]
    before = AnyStar.from_pretrained(given / "start").predict(image, diameter=10, progress=False)
    assert scores_of(truth.astype(np.int32), before.labels[:, :, 48:])[0.5].f1 < 0.3
    annotated = (
        f"data.annotated=[{{image: {given / 'a.tif'}, labels: {given / 'a_labels.tif'}, spacing: [1,1,1], "
        "boxes: [[[0, 24], [0, 28], [0, 48]]]}]"
    )
    settings = [
        "trainer.max_steps=260",
        "trainer.val_check_interval=260",
        "training.optimizer.lr=3e-3",
        "data.annotated_share=1.0",
        "callbacks.checkpoint.every_n_steps=1000",
        "batch_size=4",
    ]
    folder = tmp_path / "run"
    code, output = Training.forked(tmp_path, [*overrides(given, folder), annotated, *settings]).ended()
    assert code == 0, output
    assert "nothing was held out" in output
    model = AnyStar.from_pretrained(folder / "model")
    after = model.predict(image, diameter=10, progress=False)
    assert scores_of(truth.astype(np.int32), after.labels[:, :, 48:])[0.5].f1 > 0.8


@pytest.mark.parametrize("steps", [20, 61, 298, 299, 300, 301, 302, 1000])
def test_the_recipe_validates_five_times_and_after_the_last_step(steps, tmp_path):
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        words = ["+experiment=finetune", f"trainer.max_steps={steps}", f"run_folder={tmp_path}"]
        config = compose("train", words)
    assert config.callbacks.checkpoint.validate_last
    assert validations(config) == 5


@pytest.mark.long
def test_the_last_weights_are_validated_and_exported_where_nothing_is_held_out(given, tmp_path):
    """Five validations of 13 steps are after every third step and after the last one."""
    folder = tmp_path / "run"
    words = overrides(given, folder, "data.held_out=0", "trainer.max_steps=13")
    words = [word for word in words if not word.startswith("trainer.val_check_interval=")]
    code, output = Training.forked(tmp_path, words).ended()
    assert code == 0, output
    assert "the last weights are exported" in output
    assert re.search(r"next .* --diameter [\d.]+\n", output.replace("\r", ""))
    (metrics,) = (folder / "csv").rglob("metrics.csv")
    rows = list(csv.DictReader(metrics.read_text().splitlines()))
    assert [int(row["step"]) + 1 for row in rows if row["val_loss"]] == [3, 6, 9, 12, 13]
    best, last = (folder / "checkpoints" / f"{name}.ckpt" for name in ("best", "last"))
    assert torch.load(best, weights_only=True)["global_step"] == 13
    model = AnyStar.from_pretrained(folder / "model")
    assert model.config.provenance.weights == "last"
    expected = averaged_weights(last)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, expected[name])


@pytest.mark.long
def test_exported_weights_are_between_the_first_and_the_trained_ones(given, whole, tmp_path):
    folder = tmp_path / "run"
    settings = overrides(given, folder, "report.export.trained_share=0.25")
    code, output = Training.forked(tmp_path, settings).ended()
    assert code == 0, output
    first, trained, exported = (
        AnyStar.from_pretrained(path).network.state_dict() for path in (given / "start", whole[0], folder)
    )
    names = [name for name, value in first.items() if value.is_floating_point()]
    whole_way, part = (
        torch.cat([(weights_of[name] - first[name]).flatten() for name in names])
        for weights_of in (trained, exported)
    )
    assert whole_way.abs().max() > 0
    assert float(whole_way @ part / (whole_way @ whole_way)) == pytest.approx(0.25, abs=0.02)  # 16 bits
