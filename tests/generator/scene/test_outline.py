"""Outlines against blurred spheres: they lie at a quarter of the height, along every axis, through any map."""

import pytest
import torch
from scipy import ndimage

from anystar_torch.generator.chain import BlurringEffect, Chain
from anystar_torch.generator.effects.blur import RandomBlur
from anystar_torch.generator.effects.microscope import RandomMicroscope
from anystar_torch.generator.effects.noise import RandomGaussianNoise
from anystar_torch.generator.effects.out_of_focus import SHARP_SHARE
from anystar_torch.generator.scene.outline import emitting, outline_offset
from anystar_torch.random.source import Source


def ball(
    radius: float, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and reach of a ball in a scene that is stretched in the sample, ``[1, 1, 81, 81, 81]``."""
    axes = torch.meshgrid(*[torch.arange(81.0) - 40.0] * 3, indexing="ij")
    distance = torch.stack([a / s for a, s in zip(axes, stretch, strict=True)]).square().sum(0).sqrt()
    return (radius - distance)[None, None], torch.full((1, 1, 81, 81, 81), radius)


def profile(volume: torch.Tensor, axis: int) -> torch.Tensor:
    """Values from the centre outwards along an axis."""
    return volume[0, 0].movedim(axis, 0)[40:, 40, 40]


@pytest.mark.parametrize("stretch", [(1.0, 1.0, 1.0), (1.0, 1.6, 0.7)])
def test_the_outline_is_at_a_quarter_of_the_blurred_height(stretch: tuple[float, float, float]) -> None:
    depth, reach = ball(24.0, stretch)
    sigma = (4.0, 2.0, 1.0)
    mask = emitting(depth, reach, 0.6745 * torch.tensor([sigma]))
    seen = torch.from_numpy(ndimage.gaussian_filter(mask[0, 0].double().numpy(), sigma))[None, None]
    for axis in range(3):
        height = profile(seen, axis)
        outline = 24.0 * stretch[axis]
        low = int(outline)
        at = height[low] + (height[low + 1] - height[low]) * (outline - low)
        # a curved edge lies lower than a flat one, most where the blur is wide
        assert 0.15 < at.item() < 0.31, f"axis {axis}"


BLURS: dict[str, BlurringEffect] = {
    "smoothing": RandomBlur(p=1.0, sigma=(2.0, 3.0)),
    "microscope": RandomMicroscope(
        p=1.0,
        lateral=(2.0, 3.0),
        elongation=(1.0, 1.5),
        camera=RandomGaussianNoise(p=0.0, std=(0.0, 0.0)),
        pixel=(1.0, 1.0),
        thickness=(1.0, 1.0),
    ),
}


@pytest.mark.parametrize("name", BLURS)
def test_what_effects_report_puts_the_outline_of_a_blurred_ball_at_a_quarter_of_its_height(name: str) -> None:
    source = Source.of(torch.arange(3), seed=0, split="test")
    chain = Chain(effects={name: BLURS[name]})
    depth, reach = (field.expand(3, -1, -1, -1, -1) for field in ball(24.0))
    offset = outline_offset(torch.full((3,), 0.6745), chain.blur_width(source), 0.0)
    blurred = chain(emitting(depth, reach, offset).float(), source)
    for sample in range(3):
        for axis in range(3):
            height = profile(blurred[sample : sample + 1], axis)
            assert 0.15 < height[24].item() < 0.31, f"sample {sample}, axis {axis}"
            assert height[18] > 0.45 > 0.1 > height[30]


@pytest.mark.parametrize(("radius", "width"), [(5.0, 4.0), (7.0, 4.0), (7.0, 9.0), (14.0, 4.0), (14.0, 9.0)])
def test_out_of_focus_light_leaves_the_outline_at_the_sharp_edge(radius: float, width: float) -> None:
    """A quarter of the height is above the glow outside of the edge and below the light inside of it."""
    depth, _ = ball(radius)
    light = ndimage.gaussian_filter((depth[0, 0] > 0).double().numpy(), width)
    line = (0.4 * (depth[0, 0] > 0).double().numpy() + SHARP_SHARE * light)[40:, 40, 40]
    share = line / line[0]
    edge = int(radius)  # the first voxel outside of the ball
    assert share[edge] < 0.25 < share[edge - 1]


def test_no_offset_lets_every_voxel_inside_emit() -> None:
    depth, reach = ball(10.0)
    assert torch.equal(emitting(depth, reach, torch.zeros(1, 3)), depth > 0)


def test_small_objects_keep_a_core() -> None:
    """A blur wider than the object leaves a ball of at least half of its radius, around its centre."""
    depth, reach = ball(6.0)
    core = emitting(depth, reach, torch.full((1, 3), 9.0))
    inside, outside = ball(3.0)[0] > 0, ball(6.0)[0] <= 0
    assert core[inside].all()
    assert not core[outside].any()


@pytest.mark.parametrize("defocus", [0.5, 1.0])
def test_people_outline_further_out_along_the_blurred_axis(defocus: float) -> None:
    """With ``defocus`` the outline is the same along the sharper axes, and lies lower on the light along z."""
    sigma = (6.0, 2.0, 2.0)
    widths, blur = torch.full((1,), 0.6745), torch.tensor([sigma])
    depth, reach = ball(24.0)
    heights = []
    for value in (0.0, defocus):
        mask = emitting(depth, reach, outline_offset(widths, blur, value))
        light = torch.from_numpy(ndimage.gaussian_filter(mask[0, 0].double().numpy(), sigma))[None, None]
        heights.append([profile(light, axis)[24].item() for axis in range(3)])
    flat, defocused = heights
    assert defocused[0] < 0.8 * flat[0]
    assert defocused[1:] == pytest.approx(flat[1:], abs=0.03)


def test_a_blur_that_is_the_same_along_all_axes_has_no_defocus() -> None:
    widths, blur = torch.tensor([0.5, 1.0]), torch.full((2, 3), 3.0)
    assert torch.equal(outline_offset(widths, blur, 0.8), outline_offset(widths, blur, 0.0))
