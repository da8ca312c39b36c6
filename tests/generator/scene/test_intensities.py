"""Intensities: the mixture's moments, the texture's, and where the image's edges lie."""

from dataclasses import dataclass, replace

import pytest
import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.intensities import Mixture, SceneLimits, Texture, interpolated
from anystar_torch.generator.scene.surface import RoughBall
from anystar_torch.generator.spatial.coordinates import Coordinates, Step, identity
from anystar_torch.generator.spatial.zoom import RandomZoom, zoom
from anystar_torch.generator.synthesizer import Synthesizer
from anystar_torch.kernels.shading import VoxelFields, intensities
from anystar_torch.random.source import Source

SCENE = (128, 128, 128)


@dataclass(frozen=True, kw_only=True)
class Flat(Texture):
    """A texture that is 1 everywhere."""

    def __call__(self, scene_shape, source):
        return torch.ones(len(source.root), 1, 4, 4, 4)


def source(count: int = 1) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


@pytest.fixture(scope="module")
def plain() -> Synthesizer:
    return load_synthesizer("plain")


def rendered(mixture: Mixture, objects: torch.Tensor, coordinates: Coordinates) -> torch.Tensor:
    draws = source(len(objects))
    return mixture(objects, objects < 0, coordinates, SCENE, mixture.draw(draws), draws)


def flat(mixture: Mixture) -> Mixture:
    """No texture, and intensities on their own scale."""
    return replace(
        mixture, texture=Flat(scales=[2]), limits=SceneLimits(darkest=(0.0, 0.0), brightest=(1.0, 1.0))
    )


def test_texture_has_the_originals_range_and_deviation() -> None:
    texture = Texture(scales=[2, 4, 8, 16, 32])(SCENE, source(6))
    between = torch.nn.functional.interpolate(texture, size=SCENE, mode="trilinear", align_corners=True)
    assert between.amin((1, 2, 3, 4)).numpy() == pytest.approx(
        0.0, abs=0.08
    )  # exactly 0 and 1 in the original
    assert between.amax((1, 2, 3, 4)).numpy() == pytest.approx(1.0, abs=0.08)
    assert between.mean((1, 2, 3, 4)).numpy() == pytest.approx(0.49, abs=0.06)  # measured: 0.49 +- 0.027
    assert between.std((1, 2, 3, 4)).numpy() == pytest.approx(0.092, abs=0.012)  # measured: 0.092 +- 0.005


def moved(coordinates: Coordinates, shift: torch.Tensor | float) -> Coordinates:
    after = torch.zeros_like(coordinates.size) + shift
    return coordinates.then(Step(identity(coordinates.size), after=after))


def test_objects_have_means_and_deviations_of_their_own(plain: Synthesizer) -> None:
    mixture = flat(plain.scene.mixture)
    # 8 objects, each a slab of 8 x 64 x 64 voxels, looked at voxel by voxel
    slabs = torch.arange(64)[:, None, None].div(8, rounding_mode="floor").add(1).expand(64, 64, 64)
    grid = Coordinates.of_grid((64, 64, 64), torch.full((1, 3), 128.0))
    grid = moved(grid, 0.5)  # on the voxels of the scene
    objects = slabs[None, None].to(torch.int32)
    image = rendered(mixture, objects, grid)[0, 0]
    keep = 1.0 - 4.0 * 0.0975 + 6.0 * 0.0975**2  # of noise, by the filter that stands for an interpolation
    values = [image[8 * i + 1 : 8 * i + 7] for i in range(8)]
    means = torch.tensor([v.mean() for v in values])
    deviations = torch.tensor([v.std() for v in values]) / keep**1.5
    assert len(means.round().unique()) > 5
    assert means.min() > 20.0
    assert means.max() < 230.0
    assert deviations.min() > 4.5
    assert deviations.max() < 26.0


def test_the_background_shows_its_share_of_the_texture() -> None:
    texture = Texture(scales=[2, 4, 8, 16, 32])(SCENE, source(2))
    textured = torch.nn.functional.interpolate(
        texture, size=(64, 64, 64), mode="trilinear", align_corners=True
    )
    inside = torch.zeros_like(textured, dtype=torch.bool)
    inside[..., :32] = True
    mean = texture.mean((2, 3, 4), keepdim=True).expand_as(textured)
    objects = inside.to(torch.int32)
    ones, nowhere = torch.ones_like(textured), torch.zeros_like(inside)
    fields = VoxelFields(objects, 0.0 * ones, ones, nowhere, textured, ones)
    flat = torch.ones(2, 1)
    patch = torch.zeros_like(objects[:, 0])
    for share in (0.0, 0.25, 1.0):
        level = texture.mean((1, 2, 3, 4))
        one, zero = torch.ones(2), torch.zeros(2)
        shading = torch.stack([one, zero, torch.full((2,), share), level, one], dim=1)
        shade, grain = intensities(fields, patch, flat, flat, shading)
        assert torch.equal(shade[..., :32], textured[..., :32])
        torch.testing.assert_close(
            shade[..., 32:], (mean + share * (textured - mean))[..., 32:], rtol=0.0, atol=1e-5
        )
        assert torch.equal(grain, shade)


def test_noise_is_interpolated_between_the_voxels_of_the_scene(plain: Synthesizer) -> None:
    grid = Coordinates.of_grid((48, 48, 48), torch.full((2, 3), 128.0))
    on = plain.scene.mixture.noise(moved(grid, 0.5), source(2))
    assert on.std().item() == pytest.approx(1.0, abs=0.02)
    turned = grid.then(Step(torch.diag(torch.tensor([0.617, 0.731, 0.873])).expand(2, 3, 3)))
    between = plain.scene.mixture.noise(turned, source(2))
    assert between.std().item() == pytest.approx((2.0 / 3.0) ** 1.5, abs=0.03)


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.37])
def test_labels_and_image_lie_on_the_sphere_to_a_tenth_of_a_voxel(plain: Synthesizer, factor: float) -> None:
    """Analytic spheres: roughness, jitter, texture and noise off; positions known in closed form."""
    balls = replace(
        plain.scene.objects,
        surface=RoughBall(roughness=0.0, cell=16),
        jitter=0.0,
        radius=(0.9, 0.9),
        occupancy=(1.0, 1.0),
    )
    mixture = flat(replace(plain.scene.mixture, mean=(200.0, 200.0), std=(0.0, 0.0)))
    background = replace(mixture.background, plain_std=(0.0, 0.0), mean=(25.0, 25.0))
    shift = torch.tensor([0.3, -0.41, 0.17])
    # two lattice points, at 48 and 72, around the middle of the scene
    grid = Coordinates.of_grid((88, 88, 88), torch.full((1, 3), 128.0))
    seen = zoom(grid, torch.tensor([factor]))
    seen = moved(seen, shift)
    objects = balls(seen.position, SCENE, source()).ball
    image = rendered(replace(mixture, background=background), objects, seen)[0, 0].double()
    low, high = image.amin(), image.amax()
    share = (image - low) / (high - low)
    axes = torch.stack(torch.meshgrid(*[torch.arange(88.0)] * 3, indexing="ij")).double()
    for z, y, x in ((48, 48, 48), (72, 48, 72)):
        centre = (torch.tensor([z, y, x]) - 63.5 - shift) * factor + 43.5
        near = (axes - centre[:, None, None, None]).square().sum(0).sqrt() < 10.8 * factor + 1.2
        for weight in (share * near, ((objects[0, 0] > 0) & near).double()):
            place = (axes * weight).sum((1, 2, 3)) / weight.sum()
            assert place.numpy() == pytest.approx(centre.numpy(), abs=0.1)
            radius = (weight.sum() * 0.75 / torch.pi) ** (1 / 3)
            assert radius.item() == pytest.approx(10.8 * factor, abs=0.1)


@pytest.mark.parametrize("factor", [0.34, 1.0, 2.0, 2.4, 2.5, 4.0, 10.0])
def test_no_magnification_reverses_an_edge(factor: float) -> None:
    """From the least to the largest factor that a zoom accepts."""
    edge = (torch.arange(24.0) > 11.0).float().expand(1, 1, 6, 6, 24).contiguous()
    grid = Coordinates.of_grid((6, 6, 24), torch.full((1, 3), 128.0))
    spread = RandomZoom(factor=(factor, factor))(grid, source()).spread
    found = interpolated(edge, torch.zeros_like(edge), spread)
    assert found.diff(dim=4).min() >= -1e-6
    assert found.amin() >= -1e-6
    assert found.amax() <= 1.0 + 1e-6


@pytest.mark.parametrize("same", [{"spread": (0.0, 0.0)}, {"mean": (100.0, 100.0)}])
def test_a_plain_sample_without_objects_is_finite_where_all_objects_have_one_mean(
    plain: Synthesizer, same: dict[str, tuple[float, float]]
) -> None:
    grid = Coordinates.of_grid((8, 8, 8), torch.full((4, 3), 128.0))
    nothing = torch.zeros(4, 1, 8, 8, 8, dtype=torch.int32)
    image = rendered(replace(plain.scene.mixture, **same), nothing, grid)
    assert image.isfinite().all()


def test_limits_of_a_scene_that_could_be_equal_are_refused() -> None:
    with pytest.raises(ValueError, match=r"limits\.brightest must begin above the end of limits\.darkest"):
        SceneLimits(darkest=(0.0, 5.0), brightest=(5.0, 9.0))


@pytest.mark.parametrize("scales", [[2, 2, 4], [4, 2]])
def test_scales_of_a_texture_are_different_and_in_order(scales: list[int]) -> None:
    """Equal scales would share one random field."""
    with pytest.raises(ValueError, match="scales must be different whole numbers"):
        Texture(scales=scales)
