"""Chromatin: the formula, its statistics, and that only objects of chosen samples change."""

import pytest
import torch

from anystar_torch.generator.scene.chromatin import RandomChromatin, chromatin
from anystar_torch.random.source import Source

IDS = torch.arange(12)


def position(batch: int, n: int = 20) -> torch.Tensor:
    axes = torch.meshgrid(*[torch.arange(float(n))] * 3, indexing="ij")
    return torch.stack(axes).expand(batch, -1, -1, -1, -1)


def source(ids: torch.Tensor = IDS) -> Source:
    return Source.of(ids, seed=0, split="test")


def test_no_strength_is_a_factor_of_1() -> None:
    texture = torch.randn(2, 1, 4, 4, 4)
    assert torch.equal(
        chromatin(texture, torch.zeros_like(texture), torch.zeros(2)), torch.ones_like(texture)
    )


def test_bright_spots_and_dark_nucleoli() -> None:
    texture = torch.tensor([2.0, 0.0, -1.0, -3.0]).view(1, 1, 4, 1, 1)
    factor = chromatin(texture, torch.full_like(texture, 0.5), torch.tensor([0.8])).flatten()
    assert factor[0].item() == pytest.approx(2.718, abs=1e-3)
    assert factor[1] == 1.0
    assert factor[2].item() == pytest.approx(0.6065 * 0.6, abs=1e-3)
    assert factor[3].item() == pytest.approx(0.2231 * 0.2, abs=1e-3)


def test_only_objects_of_chosen_samples_change_and_batches_do_not_matter() -> None:
    effect = RandomChromatin(p=0.5, cell=(1.5, 3.0), grain=(0.3, 0.5), nucleoli=(0.5, 0.8))
    image = torch.rand(12, 1, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    objects = torch.zeros(12, 1, 20, 20, 20, dtype=torch.int32)
    objects[:, :, 5:15] = 7
    out = effect(image, objects, position(12), source())
    changed = (out != image).flatten(1).any(1)
    assert torch.equal(changed, source().coin("applied", 0.5))
    assert 2 < int(changed.sum()) < 10
    assert torch.equal(out[:, :, :5], image[:, :, :5])
    for rows in (slice(0, 1), slice(3, 8)):
        part = effect(image[rows], objects[rows], position(12)[rows], source(IDS[rows]))
        assert torch.equal(part, out[rows])


def test_other_devices_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    effect = RandomChromatin(p=0.5, cell=(1.5, 3.0), grain=(0.3, 0.5), nucleoli=(0.5, 0.8))
    image, objects = torch.rand(12, 1, 20, 20, 20), torch.ones(12, 1, 20, 20, 20, dtype=torch.int32)
    rows = effect(image, objects, position(12), source())
    monkeypatch.setattr("torch.compiler.is_compiling", lambda: True)
    assert torch.equal(effect(image, objects, position(12), source()), rows)
