"""``+experiment=finetune`` as a user runs it, on a small volume and from a small model."""

import csv
import json
import os
import re
import signal
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
import torch
from hydra import compose, initialize_config_dir
from scipy import ndimage

from anystar_torch import AnyStar
from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers
from anystar_torch.network import weights
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.unet import UNetBackbone
from anystar_torch.training.annotation import UNKNOWN, Annotation
from anystar_torch.training.annotation_scores import nearest_best, score_annotations, without_unknown
from anystar_torch.training.budget import validations
from anystar_torch.training.checkpoints import averaged_weights
from anystar_torch.training.data import Batch
from anystar_torch.training.finetuning import FineTuning
from anystar_torch.training.finetuning_data import FineTuningData, is_crop
from anystar_torch.training.finetuning_report import FineTuningReport
from anystar_torch.training.thresholds import Choice, mean_scores, scores_of
from tests.training.processes import Training
from tests.training.runs import assert_same_weights, losses, measured_receptive_field
from tests.training.test_annotation import ball

STEPS = 14


def volume():
    """Twelve bright balls of 9 to 11 voxels in noise."""
    rng = np.random.default_rng(1)
    labels = np.zeros((24, 28, 90), np.uint8)
    for number in range(12):
        row, column = divmod(number, 6)
        ball(
            labels,
            number + 1,
            (12 + rng.integers(-3, 4), 7 + 14 * row, 8 + 14 * column),
            rng.uniform(4.5, 5.5),
        )
    image = ndimage.gaussian_filter((labels > 0) * 1.0, 0.7) + rng.normal(0, 0.05, labels.shape)
    return (1000 * (image + 1)).astype(np.uint16), labels


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Folder with image, labels, and a model that has learned nothing; and the overrides of a small run."""
    folder = tmp_path_factory.mktemp("given")
    image, labels = volume()
    tifffile.imwrite(folder / "a.tif", image)
    tifffile.imwrite(folder / "a_labels.tif", labels)
    torch.manual_seed(0)
    network = StarDist(
        rays=16, grid=(2, 2, 2), features=16, backbone=UNetBackbone(filters=8, depth=1, batch_norm=True)
    )
    config = weights.ModelConfig(
        architecture=network.architecture,
        normalisation="clipped",
        diameter_band=(5.0, 10.0, 15.0),
        prob_thresh=0.4,
        nms_thresh=0.3,
        receptive_field=(40, 40, 40),  # not the one of a trained network
    )
    weights.save(folder / "start", network.eval(), config)
    return folder


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
    assert "synthetic volumes" in output
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
    code, output = Training.forked(tmp_path, [*overrides(given, tmp_path / "run"), annotated]).ended()
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


@pytest.mark.parametrize(
    ("weights", "held_out", "validated", "expected"),
    [
        ("best", [1], True, "best"),
        ("best", [1], False, "last"),
        ("best", [], True, "last"),
        ("last", [1], True, "last"),
    ],
)
def test_the_last_weights_are_exported_where_nothing_tells_which_are_best(
    tmp_path, weights, held_out, validated, expected
):
    if validated:
        (tmp_path / "checkpoints").mkdir()
        (tmp_path / "checkpoints" / "best.ckpt").touch()
    made = FineTuningReport(
        folder=str(tmp_path),
        export={"weights": weights, "recipe": "finetune"},
        samples=1,
        min_f1=0.0,
        image=None,
        truth=None,
        diameter=None,
        spacing=None,
    )
    data = object.__new__(FineTuningData)
    data.division = SimpleNamespace(held_out=held_out)
    assert made._exported(data) == expected


def module(given, **settings):
    """The module of a fine-tuning of the small model."""
    return FineTuning(
        network=AnyStar.from_pretrained(given / "start").network,
        loss=StarDistLoss(probability_weight=1.0, distance_weight=0.2, background=1e-4),
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        schedule=lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
        start=None,
        channels_last=False,
        **settings,
    )


def test_batch_normalisation_keeps_its_statistics(given):
    training = module(given)
    network = training.network
    kept = {name: value.clone() for name, value in network.named_buffers()}
    training.eval().train()
    network.logits(torch.rand(2, 1, 16, 16, 16))
    assert network.training
    assert all(torch.equal(kept[name], value) for name, value in network.named_buffers())


def batch(synthetic, crop):
    """A synthetic sample and a crop of which all probabilities have these values."""
    probability = torch.tensor([synthetic, crop])[:, None, None, None, None].expand(2, 1, 8, 8, 8)
    ids = torch.tensor([0, 1])
    assert is_crop(ids, 0.5).tolist() == [False, True]
    image = torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    labels = torch.ones(2, 1, 16, 16, 16, dtype=torch.int32)
    return Batch(ids, image, labels, probability.contiguous(), torch.full((2, 16, 8, 8, 8), 3.0))


@pytest.mark.long
def test_synthetic_samples_teach_what_the_first_network_predicts(given):
    teacher = AnyStar.from_pretrained(given / "start").network
    training = module(given, teacher=teacher, annotated_share=0.5)
    assert len(list(training.parameters())) == len(list(training.network.parameters()))
    assert not [name for name in training.state_dict() if "teacher" in name]
    optimizer = training.configure_optimizers()["optimizer"]
    for _ in range(5):
        optimizer.zero_grad()
        training.training_losses(batch(0.9, 0.9)).total.backward()
        optimizer.step()
    taught = training.training_losses(batch(0.9, 0.9))
    assert torch.equal(taught.total, training.training_losses(batch(0.1, 0.9)).total)
    assert not torch.equal(taught.total, training.training_losses(batch(0.9, 0.1)).total)
    given_batch = batch(0.9, 0.9)
    first = AnyStar.from_pretrained(given / "start").network.eval().requires_grad_(False)
    predicted = first(given_batch.image[:1])
    expected = training.loss(
        training.network.logits(given_batch.image),
        torch.cat([predicted.probability, given_batch.probability[1:]]),
        torch.cat([predicted.distances, given_batch.distances[1:]]),
    )
    torch.testing.assert_close(taught.total, expected.total)
    training.eval()
    losses = [training.training_losses(batch(synthetic, 0.9)).total for synthetic in (0.1, 0.9)]
    assert not torch.equal(*losses)  # a validation has the labels


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


def test_objects_on_voxels_that_are_not_annotated_are_not_judged():
    truth = np.full((1, 4, 8), UNKNOWN, np.int32)
    truth[0, :, :4] = 0
    prediction = np.zeros((1, 4, 8), np.int32)
    prediction[0, 0, :4], prediction[0, 1, 2:6], prediction[0, 2, 3:7] = 1, 2, 3
    expected = prediction.copy()
    expected[0, 2, 3:7] = 0  # three of its four voxels are not annotated
    assert np.array_equal(without_unknown(truth, prediction), expected)


@pytest.mark.long
def test_scores_of_a_part_are_those_of_the_whole_volume(given):
    image, labels = volume()
    annotation = Annotation(
        name="", image=image, labels=labels.astype(np.int32), spacing=(1.0, 1.0, 1.0), diameter=10.0
    )
    model = AnyStar.from_pretrained(given / "start")
    found = model.predict(image, diameter=10.0, prob_thresh=0.4, nms_thresh=0.3, progress=False)
    (choice,) = score_annotations(model, [annotation], [0.4], [0.3])
    expected = scores_of(labels.astype(np.int32), found.labels)
    assert {t: s.f1 for t, s in choice.scores.items()} == {t: s.f1 for t, s in expected.items()}


def test_of_equal_thresholds_the_nearest_is_chosen():
    labels = np.array([[[1, 1, 0, 2, 2]]], np.int32)
    half = np.array([[[1, 1, 0, 0, 0]]], np.int32)
    perfect, worse = (mean_scores([scores_of(labels, found)]) for found in (labels, half))
    choices = [
        Choice(0.3, 0.3, worse),
        Choice(0.4, 0.3, perfect),
        Choice(0.5, 0.3, perfect),
        Choice(0.6, 0.3, worse),
    ]
    assert nearest_best(choices, 0.7).prob_thresh == 0.5
    assert nearest_best(choices, 0.1).prob_thresh == 0.4
