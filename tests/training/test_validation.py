"""Scores during training equal those of predicting and matching by hand, also when ranks share the work."""

from types import SimpleNamespace
from unittest.mock import Mock

import lightning as L
import numpy as np
import pytest
import tifffile
import torch

from anystar_torch.evaluation.matching import matching
from anystar_torch.evaluation.scores import combine
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.training.callbacks import Average
from anystar_torch.training.data import Batch
from anystar_torch.training.thresholds import PROB_THRESHOLDS
from anystar_torch.training.validation import AnnotatedVolume, InstanceScores
from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

SHAPE = (40, 40, 40)
IOUS = (0.3, 0.5, 0.7)


def scene(distance, dim):
    """Touching balls; every second is dimmer, every third so dim that it is no object: thresholds matter."""
    image, labels = balls(SHAPE, lattice(SHAPE, distance))
    image = np.where(labels % 2 == 1, image, dim * image)
    false = labels % 3 == 0
    return np.where(false, 0.5 * dim * image, image).astype(np.float32), np.where(false, 0, labels)


SCENES = [scene(12, 0.7), scene(9, 0.5), scene(14, 0.3), scene(12, 0.4)]


def batch(*numbers):
    images, labels = zip(*(SCENES[n] for n in numbers), strict=True)
    image, truth = torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(labels))[:, None]
    return Batch(torch.tensor(numbers), image, truth, image, image)


class Run:
    """Validations of one rank, and what they log."""

    def __init__(self, callback, rank=0, ranks=1, reduce=lambda table, reduce_op: table):
        strategy = SimpleNamespace(reduce=reduce, root_device=torch.device("cpu"))
        self.trainer = Mock(spec=L.Trainer)
        self.trainer.configure_mock(
            sanity_checking=False,
            strategy=strategy,
            global_rank=rank,
            world_size=ranks,
            global_step=7,
            is_global_zero=rank == 0,
            loggers=[],
            datamodule=SimpleNamespace(validation=None, normalisation="minmax"),
        )
        network = Sees()
        network.architecture = {}
        self.logged = {}
        self.module = Mock(spec=L.LightningModule, network=network.eval())
        self.module.log_dict = lambda figures, sync_dist: self.logged.update(figures)
        self.callback = callback

    def validate(self, *batches):
        self.callback.on_validation_epoch_start(self.trainer, self.module)
        for index, numbers in enumerate(batches):
            self.callback.on_validation_batch_end(self.trainer, self.module, None, batch(*numbers), index)
        self.callback.on_validation_epoch_end(self.trainer, self.module)
        return self.logged


def by_hand(numbers):
    """The same figures from predictions at every threshold."""
    model = AnyStar(Sees(), config())
    best = None
    for thresh in PROB_THRESHOLDS:
        pairs = [
            (
                SCENES[n][1],
                model.predict(
                    SCENES[n][0], diameter=2 * RADIUS, prob_thresh=thresh, nms_thresh=0.3, progress=False
                ).labels,
            )
            for n in numbers
        ]
        scores = {iou: combine([matching(*pair, iou) for pair in pairs], by_image=True) for iou in IOUS}
        accuracy = np.mean([score.accuracy for score in scores.values()])
        if best is None or accuracy > best[0] + 1e-6:
            best = (accuracy, thresh, scores)
    figures = {"val_ap": best[0], "val_prob_thresh": best[1]}
    for iou, score in best[2].items():
        figures |= {f"val_f1/{iou}": score.f1, f"val_ap/{iou}": score.accuracy}
    return figures


@pytest.fixture(scope="module")
def expected():
    return by_hand([0, 1, 2])


def scores(folder, **settings):
    return InstanceScores(**{"folder": str(folder), "samples": 3, "pictures": 0, **settings})


@pytest.mark.long
def test_equal_predicting_and_matching_by_hand(tmp_path, expected):
    """Of four validation samples the first three are scored; a second validation starts again."""
    run = Run(scores(tmp_path))
    for _ in range(2):
        assert run.validate((0, 1), (2, 3)) == pytest.approx(expected, abs=1e-6)
    assert 0.2 < expected["val_ap"] < 0.99, "this case can tell right from wrong"


@pytest.mark.long
def test_ranks_share_the_samples(tmp_path, expected):
    """Two ranks with unequal shares log what one logs: their tables are summed."""
    parts, tables = [[(0, 2)], [(1, 3)]], [[], []]
    for rank in (0, 1):
        Run(
            scores(tmp_path), rank, 2, lambda table, reduce_op, r=rank: tables[r].append(table) or table
        ).validate(*parts[rank])
    sums = [a + b for a, b in zip(*tables, strict=True)]
    for rank in (0, 1):
        left = iter(sums)
        run = Run(scores(tmp_path), rank, 2, lambda table, reduce_op, left=left: next(left))
        assert run.validate(*parts[rank]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.long
def test_a_rank_without_samples_takes_part(tmp_path, expected):
    whole = []
    Run(scores(tmp_path), reduce=lambda table, reduce_op: whole.append(table) or table).validate((0, 1), (2,))
    left = iter(whole)
    run = Run(scores(tmp_path), 1, 2, lambda table, reduce_op: next(left))
    assert run.validate() == pytest.approx(expected, abs=1e-6)


@pytest.fixture
def files(tmp_path):
    image, labels = SCENES[0]
    folder = tmp_path / "embryo"
    folder.mkdir()
    tifffile.imwrite(folder / "image.tif", image)
    tifffile.imwrite(folder / "labels.tif", labels.astype(np.uint16))
    return {"image": str(folder / "image.tif"), "truth": str(folder / "labels.tif")}


@pytest.mark.long
def test_real_volumes_are_scored_beside(tmp_path, files, monkeypatch):
    """At the synthetic threshold, brought to the trained size; each by name, and their mean."""
    monkeypatch.setattr(
        "anystar_torch.training.validation.diameter_band", lambda synthesizer: (6.0, 13.0, 21.0)
    )
    real = [{**files, "diameter": 13}, {**files, "diameter": 13, "name": "again", "spacing": [1, 1, 1]}]
    logged = Run(scores(tmp_path, real=real, pictures=1)).validate((0, 1), (2,))
    image, labels = SCENES[0]
    model = AnyStar(Sees(), config())
    found = model.predict(
        image, diameter=13, prob_thresh=logged["val_prob_thresh"], nms_thresh=0.3, progress=False
    )
    for iou in IOUS:
        score = matching(labels, found.labels, iou)
        for name in ("", "embryo/", "again/"):
            assert logged[f"real_f1/{name}{iou}"] == pytest.approx(score.f1, abs=1e-6)
            assert logged[f"real_ap/{name}{iou}"] == pytest.approx(score.accuracy, abs=1e-6)
    assert (
        logged["real_ap"]
        == logged["real_ap/again"]
        == pytest.approx(np.mean([logged[f"real_ap/{iou}"] for iou in IOUS]))
    )
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "predictions.png",
        "real_embryo.png",
        "real_again.png",
    }


def test_the_size_is_measured_where_it_is_not_given(files):
    volume = AnnotatedVolume.read(**files)
    assert volume.name == "embryo"
    spacing, diameter = volume.sized((1.0, 1.0, 1.0))
    assert spacing == (1.0, 1.0, 1.0)
    assert diameter == pytest.approx(2 * RADIUS, rel=0.05)


def test_wrong_volumes_are_refused(tmp_path, files):
    with pytest.raises(ValueError, match="need different names"):
        scores(tmp_path, real=[files, files])
    with pytest.raises(ValueError, match=r"nowhere\.tif"):
        scores(tmp_path, real=[{**files, "image": "nowhere.tif"}])
    with pytest.raises(ValueError, match="unknown key diametre; known: image, truth, spacing, diameter"):
        scores(tmp_path, real=[{**files, "diametre": 3}])
    tifffile.imwrite(tmp_path / "small.tif", np.ones((7, 8, 9), np.uint16))
    with pytest.raises(ValueError, match=r"must have the same shape, got .* and \(7, 8, 9\)"):
        scores(tmp_path, real=[{**files, "truth": str(tmp_path / "small.tif")}])
    with pytest.raises(ValueError, match="samples must be at least 1"):
        scores(tmp_path, samples=0)


def test_it_must_see_the_averaged_weights(tmp_path):
    """Behind weight averaging it would score the weights of the last step, and nobody would notice."""
    before, after = scores(tmp_path), scores(tmp_path)
    trainer, module = Mock(spec=L.Trainer), Mock(spec=L.LightningModule)
    trainer.callbacks = [before, Average(0.9), after]
    before.setup(trainer, module, "fit")
    with pytest.raises(ValueError, match=r"callbacks\.scores must precede callbacks\.average"):
        after.setup(trainer, module, "fit")
