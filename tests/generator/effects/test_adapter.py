"""MONAI and TorchIO transforms inside the chain: the same draws for the same id, and the numbers of their own."""

import monai.transforms as mt
import pytest
import torch
import torchio as tio
from hydra.utils import instantiate

from anystar_torch.generator.chain import Chain, IntensityEffect
from anystar_torch.generator.effects.adapter import Monai, TorchIO
from anystar_torch.random.source import Source

IDS = torch.arange(5) + 7


def source(ids: torch.Tensor = IDS) -> Source:
    return Source.of(ids, seed=0, split="test")


def images() -> torch.Tensor:
    return torch.rand(5, 1, 10, 12, 14, generator=torch.Generator().manual_seed(0))


ADAPTED: dict[str, IntensityEffect] = {
    "monai random": Monai(transform=mt.RandGaussianNoise(prob=1.0, std=0.2)),
    "monai composed": Monai(
        transform=mt.Compose([mt.RandStdShiftIntensity(1.0, prob=1.0), mt.RandBiasField(prob=1.0)])
    ),
    "torchio motion": TorchIO(transform=tio.RandomMotion(num_transforms=1)),
    "torchio noise": TorchIO(transform=tio.RandomNoise(std=(0.1, 0.3))),
}


@pytest.mark.parametrize("name", ADAPTED)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_sample_is_a_function_of_its_id(name: str) -> None:
    effect, image = ADAPTED[name], images()
    before = image.clone()
    state = torch.random.get_rng_state()
    whole = effect(image, source())
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator must stay as it was"
    assert torch.equal(image, before)
    assert whole.shape == image.shape
    assert type(whole) is torch.Tensor
    assert whole.dtype == torch.float32
    assert (whole != image).flatten(1).any(1).all()
    torch.rand(3)
    for n in (3, 0):
        assert torch.equal(effect(image[n : n + 1], source(IDS[n : n + 1])), whole[n : n + 1])


def test_deterministic_transforms_are_theirs() -> None:
    image = images()
    out = Chain(effects={"median": Monai(transform=mt.MedianSmooth(radius=1))})(image, source())
    for n in range(5):
        torch.testing.assert_close(out[n], torch.as_tensor(mt.MedianSmooth(radius=1)(image[n])))
    out = TorchIO(transform=tio.RescaleIntensity((-1, 1)))(image, source())
    torch.testing.assert_close(out.flatten(1).aminmax(dim=1)[0], torch.full((5,), -1.0))


def test_refuses_a_transform_that_crops() -> None:
    with pytest.raises(ValueError, match="keep the shape"):
        Monai(transform=mt.CenterSpatialCrop(roi_size=4))(images(), source())


def test_a_configuration_can_name_a_transform() -> None:
    node = {
        "_target_": "anystar_torch.generator.effects.adapter.Monai",
        "transform": {"_target_": "monai.transforms.MedianSmooth", "radius": 1},
    }
    image = images()
    out = instantiate(node)(image, source())
    assert torch.equal(out, Monai(transform=mt.MedianSmooth(radius=1))(image, source()))
