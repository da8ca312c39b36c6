"""A microscope: the worst axis, photons that coarse voxels gather, and noise that neighbours share."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anystar_torch.generator.effects.blur import RandomBlur
from anystar_torch.generator.effects.camera import RandomCamera
from anystar_torch.generator.effects.microscope import RandomMicroscope
from anystar_torch.random.source import Source

SOURCE = Source.of(torch.arange(60), seed=0, split="test")
BLIND = RandomCamera(p=0.0, photons=(1.0, 1.0), background=(0.0, 0.0), read=(0.0, 0.0))
SHARP = RandomMicroscope(
    p=1.0, lateral=(0.0, 0.0), elongation=(1.0, 1.0), camera=BLIND, pixel=(1.0, 1.0), thickness=(1.0, 1.0)
)


def test_a_perfect_instrument_leaves_the_image() -> None:
    image = torch.rand(60, 1, 7, 8, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SHARP(image, SOURCE), image)


def test_blur_has_the_drawn_widths_and_each_axis_is_the_worst_as_often() -> None:
    point = torch.zeros(60, 1, 25, 25, 25)
    point[..., 12, 12, 12] = 1.0
    out = replace(SHARP, lateral=(1.0, 1.0), elongation=(2.5, 2.5))(point, SOURCE)[:, 0]
    position = torch.arange(25.0) - 12.0
    variance = torch.stack(
        [(out.sum(dims) * position**2).sum(1) / out.sum((1, 2, 3)) for dims in ((2, 3), (1, 3), (1, 2))],
        dim=1,
    )
    ordered = variance.sort(dim=1).values
    pixel = 1.0 / 12.0  # a Gaussian integrated over voxels is wider by a voxel's own variance
    assert ordered[:, 0].mean().item() == pytest.approx(1.0 + pixel, rel=0.02)
    assert ordered[:, 2].mean().item() == pytest.approx(6.25 + pixel, rel=0.02)
    assert variance.argmax(1).bincount(minlength=3).min() > 8


def kept_variance(step: float) -> float:
    """What means over ``step`` voxels, interpolated linearly between their centres, leave of white noise's variance."""
    kept = []
    for start in (np.arange(40) + 0.5) / 40 - 0.5:
        edges = (start + np.arange(-1, 12)) * step
        voxels = np.arange(30)
        shares = np.clip(
            np.minimum(edges[1:, None], voxels + 1) - np.maximum(edges[:-1, None], voxels), 0, None
        )
        centres = (edges[1:] + edges[:-1]) / 2
        rows = [np.interp(np.arange(9, 21) + 0.5, centres, column) for column in shares.T / step]
        kept.append(np.square(rows).sum(0).mean())
    return float(np.mean(kept))


def test_a_coarse_voxel_gathers_photons_and_neighbours_share_its_noise() -> None:
    flat = torch.full((60, 1, 24, 24, 24), 1.0)
    flat[:, :, 0, 0, 0] = 0.0  # so that there is a range: 0 to 1 stand for 0 to 100 photons
    camera = RandomCamera(p=1.0, photons=(100.0, 100.0), background=(0.0, 0.0), read=(0.0, 0.0))
    fine = replace(SHARP, camera=camera)(flat, SOURCE)[..., 2:, 2:, 2:]
    coarse = replace(SHARP, camera=camera, pixel=(3.0, 3.0))(flat, SOURCE)[..., 4:20, 4:20, 4:20]
    assert fine.std().item() == pytest.approx(0.1, rel=0.03)  # 100 photons
    assert coarse.var().item() == pytest.approx(0.01 * kept_variance(3.0) ** 3, rel=0.06)

    def correlation(x: torch.Tensor) -> float:
        a, b = x[..., 1:] - x.mean(), x[..., :-1] - x.mean()
        return ((a * b).mean() / (a.square().mean() * b.square().mean()).sqrt()).item()

    assert abs(correlation(fine)) < 0.02
    assert correlation(coarse) > 0.6


@pytest.mark.parametrize("wrong", [{"pixel": (0.5, 1.0)}, {"thickness": (2.0, 1.0)}, {"p": 1.5}])
def test_refuses_what_no_instrument_is(wrong: dict) -> None:
    name = next(iter(wrong))
    with pytest.raises(ValueError, match=name):
        replace(SHARP, **wrong)


def test_it_tells_how_wide_it_blurs() -> None:
    """Against the second moments of what it makes of a point."""
    instrument = replace(
        SHARP, lateral=(0.5, 1.0), elongation=(2.0, 3.0), pixel=(1.5, 2.0), thickness=(1.0, 2.0)
    )
    source = Source.of(torch.arange(120), seed=0, split="test")
    point = torch.zeros(120, 1, 41, 41, 41)
    point[..., 20, 20, 20] = 1.0
    out = instrument(point, source)[:, 0]
    position = torch.arange(41.0) - 20.0
    told = instrument.blur_width(source).square()
    for axis, dims in enumerate(((2, 3), (1, 3), (1, 2))):
        weight = out.sum(dims) / out.sum((1, 2, 3))[:, None]
        mean = (weight * position).sum(1, keepdim=True)
        seen = (weight * (position - mean) ** 2).sum(1)
        assert seen.mean().item() == pytest.approx(told[:, axis].mean().item(), rel=0.15)
    never = replace(instrument, p=0.0)
    assert torch.equal(never.blur_width(source), torch.zeros(120, 3))


def test_refuses_a_camera_that_blurs() -> None:
    """Its blur would be missing in what the microscope reports."""
    with pytest.raises(ValueError, match="camera must not blur"):
        replace(SHARP, camera=RandomBlur(p=1.0, sigma=(2.0, 2.0)))
