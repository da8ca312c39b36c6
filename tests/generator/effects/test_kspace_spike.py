"""The spike against MONAI, and as the single wave it is."""

import pytest
import torch
from monai.transforms import KSpaceSpikeNoise

from anystar_torch.generator.effects.kspace_spike import RandomKSpaceSpike, kspace_spike


@pytest.mark.parametrize("shape", [(12, 16, 14), (9, 11, 13)])
def test_equals_monai_sample_by_sample(shape: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(6, 1, *shape, generator=generator)
    frequency = torch.stack([torch.randint(0, n, (6,), generator=generator) for n in shape], dim=1)
    strength = torch.tensor([2.375, 2.5, 2.75, 1.0, 3.0, 0.5])
    out = kspace_spike(image, frequency, strength)
    for n in range(6):
        spectrum = torch.fft.fftn(image[n, 0].double())
        level = (spectrum.abs() + 1e-10).log().mean()
        centred = [(int(f) + size // 2) % size for f, size in zip(frequency[n], shape, strict=True)]
        expected = KSpaceSpikeNoise(tuple(centred), float(strength[n] * level))(image[n])
        torch.testing.assert_close(out[n], torch.as_tensor(expected), atol=1e-4, rtol=0)


def test_adds_one_wave_at_the_frequency_asked_for() -> None:
    image = torch.rand(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    out = kspace_spike(image, torch.tensor([[3, 0, 5]]), torch.tensor([3.0]))
    change = torch.fft.fftn((out - image)[0, 0]).abs()
    strongest = {tuple(place.tolist()) for place in (change > 0.4 * change.max()).nonzero()}
    assert strongest == {(3, 0, 5), (13, 0, 11)}
    assert change.flatten().sort().values[-3] < 1e-3 * change.max()


def test_refuses_a_strength_that_overflows() -> None:
    with pytest.raises(ValueError, match="strength must be"):
        RandomKSpaceSpike(p=0.5, strength=(2.0, 9.0))
