"""Dropout against MONAI's holes."""

import pytest
import torch
from monai.transforms import RandCoarseDropout

from anystar_torch.generator.effects.dropout import RandomCoarseDropout, coarse_dropout
from anystar_torch.random.source import Source

SHAPE = (30, 33, 36)


def volumes(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 9, (batch, 1, *SHAPE), generator=generator, dtype=torch.int32)
    return torch.rand(batch, 1, *SHAPE, generator=generator) + 0.1, labels


def test_equals_monai_for_its_holes() -> None:
    image, labels = volumes(3)
    for n in range(3):
        monai = RandCoarseDropout(holes=20, spatial_size=12, fill_value=0, prob=1.0).set_random_state(n)
        expected = torch.as_tensor(monai(image[n].clone()))
        corner = torch.tensor([[s.start for s in hole[1:]] for hole in monai.hole_coords])[None]
        cut, cut_labels = coarse_dropout(image[n : n + 1], labels[n : n + 1], corner, torch.tensor([12]))
        assert torch.equal(cut[0], expected)
        assert torch.equal(cut_labels[0] == 0, (expected == 0) | (labels[n] == 0))


def test_all_31_bits_are_used() -> None:
    image, labels = torch.ones(1, 1, 1, 1, 31), torch.ones(1, 1, 1, 1, 31, dtype=torch.int32)
    corner = torch.zeros(1, 31, 3, dtype=torch.int64)
    corner[0, :, 2] = torch.arange(31)
    cut, cut_labels = coarse_dropout(image, labels, corner, torch.tensor([1]))
    assert not cut.any()
    assert not cut_labels.any()


def test_size_0_leaves_the_input_bit_identical() -> None:
    image, labels = volumes(2)
    corner = torch.zeros(2, 4, 3, dtype=torch.int64)
    cut, cut_labels = coarse_dropout(image, labels, corner, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(cut, image)
    assert torch.equal(cut_labels, labels)


def test_batch_equals_alone_and_input_stays() -> None:
    image, labels = volumes(16)
    before = image.clone(), labels.clone()
    effect, ids = RandomCoarseDropout(p=0.5, holes=20, size=12), torch.arange(16)
    cut, cut_labels = effect(image, labels, Source.of(ids, seed=0, split="test"))
    for n in range(16):
        part = slice(n, n + 1)
        alone = effect(image[part], labels[part], Source.of(ids[part], seed=0, split="test"))
        assert torch.equal(alone[0], cut[part])
        assert torch.equal(alone[1], cut_labels[part])
    assert torch.equal(image, before[0])
    assert torch.equal(labels, before[1])
    applied = (cut == 0).flatten(1).any(1)
    assert 2 < int(applied.sum()) < 14


@pytest.mark.long
def test_cubes_lie_wholly_inside_and_anywhere() -> None:
    effect = RandomCoarseDropout(p=1.0, holes=1, size=12)
    image, labels = torch.ones(400, 1, *SHAPE), torch.ones(400, 1, *SHAPE, dtype=torch.int32)
    cut, _ = effect(image, labels, Source.of(torch.arange(400), seed=0, split="test"))
    hole = cut[:, 0] == 0
    assert (hole.sum((1, 2, 3)) == 12**3).all()
    assert hole[:, 0].any()
    assert hole[:, -1].any()
    assert hole[..., 0].any()
    assert hole[..., -1].any()


def test_a_thin_volume_is_spanned() -> None:
    image, labels = torch.ones(1, 1, 5, 40, 40), torch.ones(1, 1, 5, 40, 40, dtype=torch.int32)
    effect = RandomCoarseDropout(p=1.0, holes=1, size=12)
    cut, _ = effect(image, labels, Source.of(torch.arange(1), seed=0, split="test"))
    assert int((cut == 0).sum()) == 5 * 12 * 12


@pytest.mark.parametrize(("holes", "size"), [(0, 12), (32, 12), (20, 0)])
def test_refuses_nonsense(holes: int, size: int) -> None:
    with pytest.raises(ValueError, match="must be"):
        RandomCoarseDropout(p=0.5, holes=holes, size=size)
