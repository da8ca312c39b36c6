"""One suppression for all probability thresholds gives what a prediction at each of them gives."""

import numpy as np
import pytest

from anystar_torch.evaluation.matching import IOU_THRESHOLDS, matching
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.training.thresholds import best, evaluate, scores_of
from tests.inference.scenes import RADIUS, Sees, balls, config, lattice

SHAPE = (40, 40, 40)


def scene(distance, dim):
    """Touching balls, some dimmer than others, so that thresholds matter."""
    image, labels = balls(SHAPE, lattice(SHAPE, distance))
    return (np.where(labels % 2 == 1, image, dim * image).astype(np.float32), labels)


@pytest.fixture(scope="module")
def pairs():
    return [scene(12, 0.7), scene(9, 0.5)]


@pytest.mark.long
def test_equals_predicting_at_every_threshold(pairs):
    model = AnyStar(Sees(), config())
    choices = evaluate(model, pairs, [0.3, 0.55, 0.8], [0.1, 0.5])
    assert len(choices) == 6
    f1 = set()
    for choice in choices:
        for iou in IOU_THRESHOLDS:
            alone = [
                matching(
                    truth,
                    model.predict(
                        image,
                        diameter=2 * RADIUS,
                        prob_thresh=choice.prob_thresh,
                        nms_thresh=choice.nms_thresh,
                        progress=False,
                    ).labels,
                    iou,
                )
                for image, truth in pairs
            ]
            assert choice.scores[iou].f1 == pytest.approx(np.mean([score.f1 for score in alone]))
            f1.add(round(choice.scores[iou].f1, 6))
    assert len(f1) > 3, "the thresholds made no difference"


@pytest.mark.long
def test_the_best_has_the_highest_mean_accuracy(pairs):
    choices = evaluate(AnyStar(Sees(), config()), pairs, [0.3, 0.55, 0.8], [0.1, 0.5])
    means = [np.mean([choice.scores[iou].accuracy for iou in IOU_THRESHOLDS]) for choice in choices]
    assert best(choices).accuracy == pytest.approx(max(means))


def test_small_fragments_of_the_truth_do_not_count():
    _, truth = balls(SHAPE, lattice(SHAPE, 14))
    prediction = truth.copy()
    truth[0, 0, 0] = truth.max() + 1
    assert scores_of(truth, prediction)[0.5].f1 == 1.0
