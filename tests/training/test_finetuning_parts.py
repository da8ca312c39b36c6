"""The parts of a fine-tuning: its training step, its scores and the weights that it exports."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from anystar_torch import AnyStar
from anystar_torch.network import weights
from anystar_torch.network.loss import StarDistLoss
from anystar_torch.network.provenance import Provenance
from anystar_torch.training.annotation import UNKNOWN, Annotation
from anystar_torch.training.annotation_scores import nearest_best, score_annotations, without_unknown
from anystar_torch.training.data import Batch
from anystar_torch.training.finetuning import FineTuning
from anystar_torch.training.finetuning_data import FineTuningData, is_crop
from anystar_torch.training.finetuning_report import FineTuningReport
from anystar_torch.training.held_out import Division
from anystar_torch.training.thresholds import Choice, mean_scores, scores_of
from tests.training.annotated import volume, write_start


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return write_start(tmp_path_factory.mktemp("given"))


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
    made = report(tmp_path, weights)
    data = object.__new__(FineTuningData)
    data.division = SimpleNamespace(held_out=held_out)
    assert made._exported(data) == expected


def report(folder, weights="last"):
    """The report of a fine-tuning in a run folder, without a real volume."""
    return FineTuningReport(
        folder=str(folder),
        export={"weights": weights, "recipe": "finetune"},
        samples=1,
        min_f1=0.0,
        image=None,
        truth=None,
        diameter=None,
        spacing=None,
    )


def test_the_software_that_trained_the_start_is_named(given, tmp_path, monkeypatch):
    """A network that was imported and trained further is fine-tuned: its start is no imported one itself."""
    start = AnyStar.from_pretrained(given / "start")
    weights.save(
        tmp_path / "again",
        start.network,
        replace(start.config, provenance=Provenance(notes={"start imported from": "StarDist"})),
    )
    settings = OmegaConf.create(
        {"warm_start": str(tmp_path / "again"), "data": {"annotated": [{"image": "a.tif"}]}}
    )
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    OmegaConf.save(settings, tmp_path / "run" / ".hydra" / "config.yaml")
    data = object.__new__(FineTuningData)
    data.start, data.start_config, data.config = str(tmp_path / "again"), start.config, start.config
    annotation = Mock(spec=Annotation, diameter=10.0)
    annotation.name = "a"
    data.division = Division([annotation], [])
    data.synthesizer, data.batch_size = SimpleNamespace(seed=1), 2
    made = report(tmp_path / "run")
    scores = mean_scores([scores_of(*[np.ones((2, 2, 2), np.int32)] * 2)])
    monkeypatch.setattr(made, "_with_thresholds", lambda model, data: model)
    monkeypatch.setattr(
        made, "_compare", lambda *models: [SimpleNamespace(after=SimpleNamespace(scores=scores))]
    )
    trainer = Mock(spec=L.Trainer, global_step=3, world_size=1)
    made._export(trainer, Mock(spec=FineTuning, network=start.network), data)
    notes = AnyStar.from_pretrained(tmp_path / "run").config.provenance.notes
    assert notes["start imported from"] == "StarDist"
    assert (notes["start"], notes["fine-tuned on"]) == (str(tmp_path / "again"), ["a"])


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
