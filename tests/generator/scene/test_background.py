"""Backgrounds and patches."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.background import Background, Patches, RandomBackground
from anystar_torch.generator.spatial.coordinates import Coordinates
from anystar_torch.kernels.lattice import strongest_field
from anystar_torch.random.source import Source

SCENE = (128, 128, 128)


def source(count: int = 2) -> Source:
    return Source.of(torch.arange(count), seed=0, split="test")


def rendered(name: str, at: torch.Tensor, least: torch.Tensor, source: Source) -> Background:
    made = background(name)
    return made(at, SCENE, least, made.draw(source), source)


def background(name: str) -> RandomBackground:
    return load_synthesizer(name).scene.mixture.background


def positions(count: int) -> torch.Tensor:
    return Coordinates.of_grid((8, 8, 8), torch.full((count, 3), 128.0)).position * 16.0


def at_voxels(found: Background) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of the background in every voxel, ``[B, 1, D, H, W]`` each."""
    index = found.patch.flatten(1).to(torch.int64)
    mean, std = (table.gather(1, index).view_as(found.patch) for table in (found.means, found.stds))
    return mean[:, None], std[:, None]


def test_the_strongest_field_is_the_largest_interpolated_one() -> None:
    fields = source().normal("fields", 11, 4, 4, 4)
    position = source().uniform("position", -60.0, 60.0, 3, 6, 6, 6)
    winner = strongest_field(fields, position, (63.5, 63.5, 63.5))
    index = (position.double().numpy() / 63.5 + 1) / 2 * 3
    for b in range(2):
        values = [map_coordinates(f.double().numpy(), index[b], order=1, mode="nearest") for f in fields[b]]
        assert (winner[b].numpy() == np.argmax(values, 0)).mean() > 0.995  # ties in the last bit


def test_a_plain_background_is_flat_and_darker_than_every_object() -> None:
    least = torch.linspace(25.0, 225.0, 50)
    found = rendered("plain", positions(50), least, source(50))
    mean, std = (values.flatten(1) for values in at_voxels(found))
    assert torch.equal(mean.amin(1), mean.amax(1))
    assert (mean[:, 0] < least).all()
    assert std.max() < 5.0


def test_a_flat_background_may_have_any_brightness() -> None:
    found = rendered("rand", positions(300), torch.full((300,), 25.0), source(300))
    mean, std = (values.flatten(1) for values in at_voxels(found))
    assert torch.equal(mean.amin(1), mean.amax(1))
    assert 25.0 < mean.min() < 40.0
    assert 210.0 < mean.max() < 225.0
    assert std.min() > 5.0
    assert std.max() < 25.0


def test_patches_are_one_to_twenty_and_their_number_is_drawn_evenly() -> None:
    found = rendered("perlin", positions(200), torch.full((200,), 25.0), source(200))
    counts = torch.tensor([len(mean.unique()) for mean in at_voxels(found)[0]])
    assert counts.min() == 1
    assert 8 <= counts.max() <= 20
    assert (counts == 1).float().mean().item() == pytest.approx(0.07, abs=0.06)  # one field, or one seen


@pytest.mark.long
def test_computing_chosen_samples_only_changes_no_bit() -> None:
    least = torch.full((12,), 25.0)
    together = rendered("mix", positions(12), least, source(12))
    for i in range(12):
        alone = rendered("mix", positions(1), least[:1], Source.of(torch.tensor([i]), seed=0, split="test"))
        assert torch.equal(at_voxels(alone)[0][0], at_voxels(together)[0][i])


@pytest.mark.long
def test_modes_occur_as_often_as_configured() -> None:
    found = rendered("mix", positions(900)[:, :, :1, :1, :2], torch.full((900,), 25.0), source(900))
    dark = (at_voxels(found)[1][:, 0, 0, 0, 0] < 5.0).float().mean().item()
    assert dark == pytest.approx(1 / 3, abs=0.05)


@pytest.mark.parametrize("name", ["scales", "warp_scales"])
def test_equal_scales_of_patches_are_refused(name: str) -> None:
    """They would share one random field."""
    scales = {"scales": [32, 64], "warp_scales": [16, 32]} | {name: [32, 32]}
    with pytest.raises(ValueError, match=f"{name} must be different whole numbers"):
        Patches(most=20, warp=16.0, **scales)
