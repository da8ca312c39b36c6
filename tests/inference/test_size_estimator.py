"""The size estimate, with a network that measures balls and knows only a band of them."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.evaluation.matching import matching
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.object_size import SizeEstimate
from anystar_torch.inference.predictor import AnyStar
from anystar_torch.inference.size_estimator import SizeEstimator
from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.inference.warnings import SizeWarning
from anystar_torch.network.stardist import Prediction
from anystar_torch.system.progress import silent
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
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((32, 96, 96), (2.5, 1, 1)), ((80, 80, 32), (1, 1, 3)), ((96, 48, 96), (0.5, 1, 0.5))],
)
def test_the_size_of_balls_in_flat_voxels_is_found(shape, spacing):
    image, _ = scene(20, shape, spacing)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(image, spacing=spacing, device="cpu", progress=False)
    assert found.diameter == pytest.approx(20, rel=0.2)


@pytest.mark.long
@pytest.mark.parametrize("diameter", [20, 60])
def test_the_size_of_one_object_is_found(diameter):
    image, _ = balls((72, 80, 76), [np.array([36.0, 40, 38])], diameter / 2)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(image, device="cpu", progress=False)
    assert found.diameter == pytest.approx(diameter, rel=0.25)


@pytest.mark.long
@pytest.mark.parametrize("diameter", [8, 12])
def test_an_estimate_processes_about_half_as_many_voxels_as_the_prediction(diameter):
    image, _ = scene(diameter)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(image, device="cpu", progress=False)
    everything = sum(np.prod(shape) for shape in model.network.seen)
    model.network.seen.clear()
    model.predict(image, diameter=found.diameter, device="cpu", progress=False)
    prediction = sum(np.prod(shape) for shape in model.network.seen)
    assert everything <= 1.55 * prediction  # boxes and tiles are multiples of the divisor


@pytest.mark.long
def test_the_same_volume_has_the_same_size():
    image, _ = scene(17)
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    first, second = (model.predict(image, device="cpu", progress=False).diameter for _ in range(2))
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("factor", [1.0, 1.6])
def test_the_shipped_network_finds_the_size_of_synthetic_objects(factor):
    """Against the median volume of the labels that the generator made, over four samples."""
    synth = load_synthesizer("zero_shot", shape=(96, 96, 96), seed=3)
    model, ratios = AnyStar.from_pretrained(), []
    for i in range(4):
        sample = synth(torch.tensor([i]))
        volumes = np.bincount(sample.labels.numpy().ravel())[1:]
        listed = factor * np.cbrt(6 / np.pi * np.median(volumes[volumes > 0]))
        image = ndimage.zoom(sample.image[0, 0].numpy(), factor, order=1, grid_mode=True, mode="nearest")
        found = model.predict(image, device="cpu", progress=False)
        ratios.append(found.diameter / listed)
    assert 0.8 < np.median(ratios) < 1.25, ratios


def test_where_nothing_is_found_the_known_size_is_assumed_and_said():
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    volume = np.zeros((40, 40, 40), np.float32)
    volume[3, 3, 3] = 1
    found = model.predict(volume, device="cpu", progress=False)
    assert found.diameter == 13
    assert [type(warning) for warning in found.warnings] == [SizeWarning]
    assert found.warnings[0].arguments == ("diameter",)


@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 5, 400), (3, 300, 300), (40, 40, 40)])
def test_an_empty_volume_of_any_shape_has_the_known_size(shape):
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    found = model.predict(np.full(shape, 7, np.uint8), device="cpu", progress=False)
    assert (found.diameter, len(found), model.network.seen) == (13, 0, [])


@pytest.mark.long
@pytest.mark.parametrize("shape", [(1, 2, 3), (5, 5, 200), (2, 60, 60)])
def test_noise_of_any_shape_is_estimated_without_error(shape):
    model = AnyStar(Measures().eval(), config(prob_thresh=0.5))
    noise = np.random.default_rng(0).random(shape, np.float32)
    found = model.predict(noise, device="cpu", progress=False)
    assert 0 < found.diameter <= 2 * max(max(shape), 13)


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


@pytest.mark.long
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


@pytest.mark.parametrize(
    ("shape", "rounded"), [((66, 66, 66), True), ((64, 64, 64), False), ((77, 77, 77), False)]
)
def test_an_estimate_is_rounded_up_where_tiles_need_less_padding(shape, rounded):
    """At 13 network voxels for 13 input voxels the shape is that of the tile, padded to multiples of 8."""
    tiles = TileNetwork(Measures(grid=(2, 2, 2)).eval(), torch.device("cpu"))
    estimator = SizeEstimator(tiles, config(), 1e9, coarse_pass=False)
    volume = InputVolume(np.zeros(shape, np.uint8), (1.0, 1.0, 1.0), IntensityRange(0.0, 1.0, False))
    diameter = estimator._cheapest(volume, 13.0)
    padded = [math.prod(-(-round(n * 13 / d) // 8) * 8 for n in shape) for d in (13.0, diameter)]
    assert 13 <= diameter <= 1.03 * 13
    assert (diameter > 13) == rounded
    assert padded[1] < 0.91 * padded[0] if rounded else padded[1] == padded[0]


@pytest.mark.parametrize(
    ("diameter", "support", "said"), [(4.9, 1.0, "noise"), (4.9, 0.5, "uncertain"), (5.1, 1.0, None)]
)
def test_an_estimate_as_small_as_in_noise_gives_a_warning(monkeypatch, diameter, support, said):
    tiles = TileNetwork(Measures(grid=(2, 2, 2)).eval(), torch.device("cpu"))
    estimator = SizeEstimator(tiles, config(), 1e9)
    found = SizeEstimate(diameter, support, 20, 3)
    monkeypatch.setattr(SizeEstimator, "_search", lambda self, volume, most, tick: found)
    monkeypatch.setattr(SizeEstimator, "_cheapest", lambda self, volume, diameter: diameter)
    image = np.zeros((8, 8, 8), np.uint8)
    size = estimator.estimate(InputVolume(image, (1.0, 1.0, 1.0), IntensityRange(0.0, 1.0, False)), silent)
    assert size.diameter == diameter
    assert [said in str(warning) for warning in size.warnings] == ([] if said is None else [True])
