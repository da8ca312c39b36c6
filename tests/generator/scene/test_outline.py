"""Outlines against blurred spheres: they lie at a quarter of the height, along every axis, through any map."""

import pytest
import torch
from scipy import ndimage

from anystar_torch.generator.scene.outline import MOST, lit, outside


def ball(
    radius: float, stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Depth and reach of a ball in a world that the sample sees stretched, ``[1, 1, 81, 81, 81]``."""
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
    shines = lit(depth, reach, 0.6745 * torch.tensor([sigma]))
    seen = torch.from_numpy(ndimage.gaussian_filter(shines[0, 0].double().numpy(), sigma))[None, None]
    for axis in range(3):
        height = profile(seen, axis)
        outline = 24.0 * stretch[axis]
        low = int(outline)
        at = height[low] + (height[low + 1] - height[low]) * (outline - low)
        # a curved edge lies lower than a flat one, most where the blur is wide
        assert 0.15 < at.item() < 0.31, f"axis {axis}"


def test_no_offset_lights_everything_inside() -> None:
    depth, reach = ball(10.0)
    assert torch.equal(lit(depth, reach, torch.zeros(1, 3)), depth > 0)


def test_small_objects_keep_a_core() -> None:
    depth, reach = ball(3.0)
    core = lit(depth, reach, torch.full((1, 3), 9.0))
    assert torch.equal(core, depth > MOST * 3.0)
    assert core.any()


def test_outlines_lie_further_out_along_the_blurred_axis_only() -> None:
    widths, blur = torch.tensor([0.5, 1.0]), torch.tensor([[6.0, 2.0, 2.0], [3.0, 3.0, 3.0]])
    torch.testing.assert_close(outside(widths, blur, 0.0), widths[:, None] * blur)
    expected = torch.tensor([[0.5 * (6.0 + 0.8 * 4.0), 1.0, 1.0], [3.0, 3.0, 3.0]])
    torch.testing.assert_close(outside(widths, blur, 0.8), expected)
