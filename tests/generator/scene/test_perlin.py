"""Noise against its definition, fields against scipy's interpolation."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from anystar_torch.generator.scene.perlin import draw_gradients, lattice_noise
from anystar_torch.kernels.lattice import gradient_noise, sample, sample_periodic
from anystar_torch.random.source import Source


def source(count: int = 2) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


def perlin_by_definition(gradients: np.ndarray, point: np.ndarray) -> float:
    """K. Perlin's noise at one point, one corner at a time."""
    base = np.floor(point).astype(int)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        offset = point - base - corner
        t = 1.0 - np.abs(offset)
        fade = np.prod(t**3 * (t * (6 * t - 15) + 10))
        total += fade * gradients[:, *(base + corner)] @ offset
    return total


def test_gradient_noise_is_perlins() -> None:
    gradients = draw_gradients(source(), 3, 4, 5)
    noise = gradient_noise(gradients, 4)[:, 0].numpy()
    assert noise.shape == (2, 8, 12, 16)
    points = np.random.default_rng(0).integers(0, (8, 12, 16), (60, 3))
    for sample_number in range(2):
        expected = [perlin_by_definition(gradients[sample_number].double().numpy(), p / 4) for p in points]
        assert noise[sample_number][tuple(points.T)] == pytest.approx(np.array(expected), abs=1e-6)


def test_gradient_noise_is_zero_at_its_lattice_and_as_strong_as_measured() -> None:
    noise = gradient_noise(draw_gradients(source(8), 9, 9, 9), 8)
    assert noise[..., ::8, ::8, ::8].abs().max() == 0.0
    assert noise.std().item() == pytest.approx(0.194, abs=0.01)  # the original's, measured
    assert noise.abs().max().item() < 0.8


def test_gradients_are_unit_vectors_bunched_at_the_last_axis() -> None:
    gradients = draw_gradients(source(1), 20, 20, 20)
    assert gradients.square().sum(1).sqrt() == pytest.approx(1.0, abs=1e-5)
    mean_square = gradients.square().mean((0, 2, 3, 4))
    assert mean_square.numpy() == pytest.approx([0.25, 0.25, 0.5], abs=0.02)


def test_fields_are_interpolated_as_scipy_does() -> None:
    field = source().normal("field", 3, 5, 6, 7)
    position = (source().uniform("position", -9.0, 9.0, 3, 4, 5, 6)) * 0.95
    half = (8.0, 9.0, 7.0)
    out = sample(field, position, half)
    for b in range(2):
        index = [(position[b, a].numpy() / half[a] + 1) / 2 * (field.shape[a + 2] - 1) for a in range(3)]
        for c in range(3):
            expected = map_coordinates(field[b, c].numpy(), index, order=1, mode="nearest")
            assert out[b, c].numpy() == pytest.approx(expected, abs=1e-4)


def test_periodic_fields_repeat_and_are_interpolated_between() -> None:
    field = source().normal("field", 1, 4, 6, 8)
    position = source().uniform("position", -40.0, 40.0, 3, 4, 5, 6)
    out = sample_periodic(field, position)
    for b in range(2):
        expected = map_coordinates(field[b, 0].numpy(), position[b].numpy(), order=1, mode="grid-wrap")
        assert out[b, 0].numpy() == pytest.approx(expected, abs=2e-4)


def test_lattice_noise_is_a_sum_of_interpolated_white_noises() -> None:
    shape, nodes = (32, 32, 16), (63, 63, 31)
    fields = lattice_noise(source(6), 2, shape, (4, 8), nodes)
    assert fields.shape == (6, 2, 63, 63, 31)
    parts = [lattice_noise(source(6), 2, shape, (s,), nodes) for s in (4, 8)]
    assert torch.equal(fields, parts[0] + parts[1])
    # At its own nodes a part is the white noise itself: every ninth of 63 nodes is one of 8.
    own = lattice_noise(source(6), 2, shape, (4,), (8, 8, 4))
    assert own.std().item() == pytest.approx(1.0, abs=0.05)
    assert parts[0][:, :, 0, 0, 0].numpy() == pytest.approx(own[:, :, 0, 0, 0].numpy(), abs=1e-6)
    assert parts[0][:, :, -1, -1, -1].numpy() == pytest.approx(own[:, :, -1, -1, -1].numpy(), abs=1e-5)
