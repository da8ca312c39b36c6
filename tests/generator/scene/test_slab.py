"""Slabs of few slices against numpy's reflection, and what their objects are."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from anystar_torch.configuration.compose import load_synthesizer
from anystar_torch.generator.scene.slab import RandomSlab, direction_of_z, mirrored_slices
from anystar_torch.generator.scene.stretch import stretch
from anystar_torch.generator.spatial.coordinates import Coordinates, Step
from anystar_torch.inference.resampling import mirrored_indices
from anystar_torch.random.source import Source


@pytest.mark.parametrize("thickness", [2, 5, 9, 16])
def test_slices_repeat_as_numpy_reflects(thickness: int) -> None:
    found = mirrored_slices(16, torch.tensor([thickness]), torch.tensor([0]))[0].numpy()
    first = (16 - thickness) // 2
    expected = np.pad(np.arange(first, first + thickness), (0, 16 - thickness), mode="reflect")
    assert (found == expected).all()
    assert (found - first == mirrored_indices(np.arange(16), thickness)).all(), (
        "as prediction pads thin volumes"
    )


def test_a_sample_may_begin_anywhere_in_the_period() -> None:
    whole = mirrored_slices(24, torch.tensor([5]), torch.tensor([0]))
    later = mirrored_slices(24, torch.tensor([5]), torch.tensor([3]))
    assert torch.equal(later[:, :-3], whole[:, 3:])


def test_each_sample_is_a_slab_or_untouched() -> None:
    slab = RandomSlab(p=0.5, thickness=(4, 8), length=(1.0, 2.0))
    source = Source.of(torch.arange(64), seed=0, split="test")
    image = torch.rand(64, 1, 16, 3, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(64 * 16 * 9, dtype=torch.int32).view(64, 1, 16, 3, 3)
    repeated, ids = slab.repeated(image, labels, source)
    changed = [not torch.equal(a, b) for a, b in zip(image, repeated, strict=True)]
    assert 16 < sum(changed) < 48
    for index in np.flatnonzero(changed):
        slices = torch.unique(ids[index, 0, :, 0, 0])
        assert 4 <= len(slices) <= 8
    assert [not torch.equal(a, b) for a, b in zip(labels, ids, strict=True)] == changed


@pytest.mark.parametrize("thickness", [(1, 4), (5, 4), (4, 5, 6)])
def test_impossible_slabs_are_refused(thickness: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="thickness must be"):
        RandomSlab(p=0.5, thickness=thickness, length=(1.0, 2.0))


def test_the_direction_of_z_is_the_samples() -> None:
    coordinates = Coordinates.of_grid((16, 8, 8), torch.full((1, 3), 16.0))
    assert torch.equal(direction_of_z(coordinates), torch.tensor([[1.0, 0.0, 0.0]]))
    turned = coordinates.then(Step(torch.eye(3).flip(0)[None] * 0.7))
    assert torch.allclose(direction_of_z(turned), torch.tensor([[0.0, 0.0, 1.0]]))


@pytest.mark.long
def test_objects_of_slabs_are_columns() -> None:
    """Each object that is cut by a face of the slab is one object with its mirror image."""
    synth = load_synthesizer("zero_shot", shape=(32, 32, 32))
    slab = RandomSlab(p=1.0, thickness=(6, 6), length=(3.0, 3.0))
    synth = replace(synth, scene=replace(synth.scene, slab=slab))
    labels = synth(torch.arange(3)).labels[:, 0]
    tall = total = 0
    for sample in labels:
        for label in range(1, int(sample.max()) + 1):
            slices = (sample == label).any(2).any(1)
            tall += int(slices.sum()) >= 12
            total += 1
    assert total > 5
    assert tall > total / 2


def test_a_slab_of_length_1_leaves_positions() -> None:
    coordinates = Coordinates.of_grid((8, 8, 8), torch.full((2, 3), 8.0))
    one = torch.ones(2)
    assert torch.equal(
        stretch(coordinates, direction_of_z(coordinates), one, one).position, coordinates.position
    )


def test_every_thickness_of_the_range_occurs_and_none_is_deeper_than_the_sample() -> None:
    source = Source.of(torch.arange(200), seed=0, split="test")
    labels = torch.arange(16, dtype=torch.int32).view(1, 1, 16, 1, 1).expand(200, -1, -1, 2, 2).contiguous()
    slab = RandomSlab(p=1.0, thickness=(4, 8), length=(1.0, 2.0))
    _, ids = slab.repeated(labels.float(), labels, source)
    assert {len(sample.unique()) for sample in ids} == {4, 5, 6, 7, 8}
    thick = RandomSlab(p=1.0, thickness=(40, 50), length=(1.0, 2.0))  # all slices, from any place on
    _, ids = thick.repeated(labels.float(), labels, source)
    assert {len(sample.unique()) for sample in ids} == set(range(9, 17))


def test_objects_of_slabs_alone_are_longer_along_z() -> None:
    """A position in the scene is that in the sample over the length, which is that of the slab's draws."""
    slab = RandomSlab(p=0.5, thickness=(4, 8), length=(2.0, 4.0))
    source = Source.of(torch.arange(60), seed=0, split="test")
    grid = Coordinates.of_grid((8, 6, 6), torch.full((60, 3), 8.0))
    there = source.coin("there", 0.5)
    length = torch.where(there, source.uniform("length", 2.0, 4.0), 1.0)
    assert 10 < there.sum() < 50
    assert length[there].min() >= 2.0
    found = slab.stretched(grid, source).position
    expected = grid.position.clone()
    expected[:, 0] /= length[:, None, None, None]
    torch.testing.assert_close(found, expected)
