"""MONAI and TorchIO transforms as effects of the chain.

These transforms draw from generators on the host and process one volume at a time. An adapted effect therefore loops
over the samples and makes the device wait. Use it to test an idea, then write the effect as a batched function. The
generator of each sample is seeded from the random stream of the sample. So the rules of the chain hold: the same id
gives the same bits, and the other effects of the chain do not change them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from anystar_torch.arrays import Volume
from anystar_torch.random.source import Source


@runtime_checkable
class Seedable(Protocol):
    """Random transforms and ``Compose`` of MONAI."""

    def set_random_state(self, seed: int | None = None, state: Any = None) -> Any:
        """Seed all draws of the transform.

        Args:
            seed: a whole number of at least 0; None for ``state``.
            state: generator to use where ``seed`` is None.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Monai:
    """A MONAI transform of arrays (not of dictionaries).

    For instance ``Monai(transform=monai.transforms.RandStdShiftIntensity(factors=1.0, prob=0.5))``.

    Attributes:
        transform: from a channel-first volume ``[1, D, H, W]`` to one of the same shape, on the device of the image.
        blurs: whether the transform may blur. Generators that place outlines refuse such a transform.
    """

    transform: Callable[[Tensor], Any]
    blurs: bool = True

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Transform every sample of ``image`` ``[B, 1, D, H, W]``.

        Raises:
            ValueError: the transform changes the shape.
        """
        return _each(image, source, self._one)

    def _one(self, volume: Tensor, seed: int) -> Tensor:
        if isinstance(self.transform, Seedable):
            self.transform.set_random_state(seed=seed)
        out: Tensor = torch.as_tensor(self.transform(volume))
        return out


@dataclass(frozen=True, kw_only=True)
class TorchIO:
    """A TorchIO transform.

    For instance ``TorchIO(transform=torchio.RandomMotion(p=0.3))``.

    Attributes:
        transform: from a volume ``[1, D, H, W]`` to one of the same shape, on the CPU. TorchIO calls the axes x, y, z
            in the order of the array, so its first axis is z here.
        blurs: whether the transform may blur. Generators that place outlines refuse such a transform.
    """

    transform: Callable[[Tensor], Tensor]
    blurs: bool = True

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Transform every sample of ``image`` ``[B, 1, D, H, W]``.

        Raises:
            ValueError: the transform changes the shape.
        """
        return _each(image, source, self._one)

    def _one(self, volume: Tensor, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # TorchIO draws from the global generator
            torch.manual_seed(seed)
            return self.transform(volume.cpu())


def _each(image: Volume, source: Source, one: Callable[[Tensor, int], Tensor]) -> Volume:
    if image.device.type == "meta":  # shapes only
        return torch.empty_like(image)
    seeds = [seed & 0xFFFFFFFF for seed in source.bits("seed").tolist()]
    volumes = []
    for volume, seed in zip(image.unbind(), seeds, strict=True):
        out = one(volume.clone(), seed)
        if out.shape != volume.shape:
            wanted, got = tuple(volume.shape), tuple(out.shape)
            raise ValueError(f"a transform in the chain must keep the shape {wanted}, got {got}")
        volumes.append(out.as_subclass(Tensor).to(image))  # MONAI returns tensors of a class of its own
    return torch.stack(volumes)
