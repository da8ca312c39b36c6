"""The size estimate, with a network that measures balls and knows only a band of them."""

import math

import numpy as np
import pytest
import torch

from anystar_torch.evaluation.matching import matching
from anystar_torch.inference import size_estimator as size
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.network.stardist import Prediction
from tests.inference.scenes import RADIUS, Sees, balls, config


class Measures(Sees):
    """Reads the radius of a ball from the slope of its brightness; unsure of balls it was not trained on."""

    def forward(self, image):
        self.seen.append(tuple(image.shape[2:]))
        slopes = torch.gradient(image[0, 0]) if min(image.shape[2:]) > 1 else [image[0, 0] * 0]
        slope = torch.stack(slopes).square().sum(0).sqrt()
        slope = torch.nn.functional.max_pool3d(slope[None, None], 3, 1, 1)  # the very top is flat
        radius = 1 / slope.clamp(1e-2, 1)
        known = torch.exp(-((torch.log(radius / RADIUS) / 0.6) ** 2))
        return Prediction(
            (image * known * self.gain).clamp(0, 1), radius.expand(-1, len(self.rays), -1, -1, -1)
        )


def scene(diameter, shape=(72, 80, 88), spacing=(1, 1, 1)):
    """Balls of about one size, scattered."""
    rng = np.random.default_rng(0)
    step = np.array(spacing) / min(spacing)
    pitch = 1.3 * diameter / step
    counts = (max(1, int(s // p)) for s, p in zip(shape, pitch, strict=True))
    centres = [(np.array(index) + 0.5 + rng.uniform(-0.1, 0.1, 3)) * pitch for index in np.ndindex(*counts)]
    return balls(shape, [c for c in centres if (c < shape).all()], diameter / 2, spacing)


@pytest.mark.long
@pytest.mark.parametrize("diameter", [8, 13, 24, 36])
def test_the_size_of_balls_is_found(diameter):
    image, labels = scene(diameter)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(image, device="cpu", progress=False)
    given = model.predict(image, diameter=diameter, device="cpu", progress=False)
    assert found.diameter == pytest.approx(diameter, rel=0.2)
    assert found.estimate is not None
    assert found.estimate.diameter == found.diameter
    assert given.estimate is None
    assert matching(labels, found.labels).f1 > matching(labels, given.labels).f1 - 0.03


@pytest.mark.long
def test_the_size_of_balls_in_flat_voxels_is_found():
    image, _ = scene(20, (32, 96, 96), (2.5, 1, 1))
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(image, spacing=(2.5, 1, 1), device="cpu", progress=False)
    assert found.diameter == pytest.approx(20, rel=0.2)


def crowd(count, diameter, covered, score=0.7):
    """A level on which ``count`` objects of the size assumed fill a share of what is seen."""
    return size.Measurement(diameter, np.ones(count), np.full(count, score), covered)


def nothing(diameter):
    return size.Measurement(diameter, np.empty(0), np.empty(0), 0.0)


def test_an_outline_of_the_whole_does_not_outvote_what_it_consists_of():
    levels = [crowd(25, 20.0, 0.10), crowd(1, 80.0, 0.16)]
    found = size.agreed_size(levels, nothing)
    assert found.diameter == pytest.approx(20, rel=0.05)
    assert found.support < 0.9  # the whole is still heard


def test_a_lone_object_is_not_outvoted_by_its_fragments():
    fragments = [crowd(6, 80.0 / 2**k, 0.02, score=0.5) for k in (2, 3)]
    found = size.agreed_size([*fragments, crowd(1, 80.0, 0.3)], nothing)
    assert found.diameter == pytest.approx(80, rel=0.05)


def test_where_nothing_is_found_the_known_size_is_assumed_and_said():
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    volume = np.zeros((40, 40, 40), np.float32)
    volume[3, 3, 3] = 1
    found = model.predict(volume, device="cpu", progress=False)
    assert found.diameter == 13
    assert [type(warning) for warning in found.warnings] == [SizeWarning]
    assert found.warnings[0].arguments == ("diameter",)


def empty(shape, spacing):
    return InputVolume(np.zeros(shape, np.uint8), spacing, IntensityRange(0.0, 0.0, True))


def test_the_assumed_diameters_span_what_the_volume_can_hold():
    sizes = size.assumed_diameters(empty((50, 100, 200), (2.0, 1.0, 1.0)))
    assert sizes[0] == 4
    assert 100 / size.STEP < sizes[-1] <= 100
    assert np.diff(np.log(sizes)) == pytest.approx(math.log(size.STEP))
    assert size.assumed_diameters(empty((1, 2, 3), (1.0, 1.0, 1.0))) == [4]


@pytest.mark.parametrize("shape", [(10, 20, 30), (300, 300, 300), (7, 2000, 2000), (4000, 5, 5)])
def test_the_examined_box_is_small_and_inside(shape):
    start, stop = size.box_around((0.9, 0.5, 0.0), shape, (8, 8, 8))
    edge = np.subtract(stop, start)
    assert edge.prod() <= 96**3
    assert (edge % 8 == 0).all()
    assert (np.array(start) >= 0).all()
    assert (np.array(stop) <= [-(-s // 8) * 8 for s in shape]).all()


def test_the_examined_box_is_where_something_is():
    image = np.random.default_rng(0).random((60, 70, 80), np.float32) * 0.01
    centre = [45.0, 20, 60]
    image += balls(image.shape, [centre], 9)[0]
    place = size.most_textured_place(image, IntensityRange(0.0, 1.0, True))
    assert np.array(place) * image.shape == pytest.approx(centre, abs=9)


@pytest.mark.long
@pytest.mark.parametrize(("diameter", "doubted"), [(13, False), (17, False), (34, True), (7, True)])
def test_a_size_that_what_is_found_contradicts_is_doubted(diameter, doubted):
    """Balls of 13 voxels, taken to be of another size: they come out smaller or larger than the network knows."""

    class Sure(Measures):
        def forward(self, image):
            probability, distances = super().forward(image)
            return Prediction((probability * 3).clamp(0, 1), distances)

    image, _ = scene(13)
    model = AnyStar(Sure().eval(), config(prob_thresh=0.5, diameter_band=(8.0, 13.0, 21.0)))
    found = model.predict(image, diameter=diameter, device="cpu", progress=False)
    assert len(found) >= 5
    assert len(found.warnings) == doubted
    assert not doubted or "those found measure" in str(found.warnings[0])


@pytest.mark.long
@pytest.mark.parametrize("prob_thresh", [0.1, 0.3, 0.9])
def test_the_estimate_does_not_depend_on_what_is_then_asked_for(prob_thresh):
    """``--candidates`` keeps more candidates than are shown: the labels must not change by that."""
    image, _ = scene(17)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    usual = model.predict(image, device="cpu", progress=False)
    found = model.predict(image, prob_thresh=prob_thresh, device="cpu", progress=False)
    assert found.diameter == usual.diameter


def test_a_network_of_unknown_sizes_is_neither_rescaled_nor_contradicted():
    """Balls of 36 voxels before an imported network whose band is only a guess."""
    image, _ = scene(36, (96, 96, 96))
    unknown = config(prob_thresh=0.02, imported_from="StarDist", sizes_known=False)
    model = AnyStar(Measures().eval(), unknown)
    found = model.predict(image, device="cpu", progress=False)
    assert model.network.seen[-1] == image.shape
    assert len(found) >= 5
    assert [type(warning) for warning in found.warnings] == [SizeWarning]
    assert "sizes of the model are unknown" in str(found.warnings[0])


def test_a_threshold_that_is_none_is_refused_before_the_network_is_asked():
    model = AnyStar(Measures().eval(), config())
    for name, value in (("nms_thresh", 30), ("prob_thresh", 60)):
        with pytest.raises(ValueError, match=name):
            model.predict(scene(13)[0], device="cpu", progress=False, **{name: value})
    assert not model.network.seen
