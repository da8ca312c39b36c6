"""Any MONAI or TorchIO transform as an effect of the chain.

These transforms draw from generators on the host and work on one volume at a time, so an adapted effect loops
over the samples and makes the device wait; use it to try an idea, and write the effect as a batched function
if it stays. Each sample's generator is seeded from the sample's own stream: the rules of the chain (same id,
same bits; other effects change nothing) hold for it, too.
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
    """What MONAI's random transforms and ``Compose`` share."""

    def set_random_state(self, seed: int | None = None, state: Any = None) -> Any:
        """Seed everything the transform draws."""
        ...


@dataclass(frozen=True, kw_only=True)
class Monai:
    """A MONAI transform of arrays (not of dictionaries).

    Example::

        Monai(transform=monai.transforms.RandStdShiftIntensity(factors=1.0, prob=0.5))

    Attributes:
        transform: from a channel-first volume ``[1, D, H, W]`` to one of the same shape. It is called on the
            image's own device.
    """

    transform: Callable[[Tensor], Any]

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Transform every sample of ``image`` ``[B, 1, D, H, W]``.

        Raises:
            ValueError: the transform changes the shape; the chain changes intensities only.
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

    Example::

        TorchIO(transform=torchio.RandomMotion(p=0.3))

    Attributes:
        transform: from a volume ``[1, D, H, W]`` to one of the same shape, on the CPU. TorchIO calls the axes
            x, y, z in the order of the array, so its "first axis" is our z.
    """

    transform: Callable[[Tensor], Tensor]

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Transform every sample of ``image`` ``[B, 1, D, H, W]``.

        Raises:
            ValueError: the transform changes the shape; the chain changes intensities only.
        """
        return _each(image, source, self._one)

    def _one(self, volume: Tensor, seed: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):  # TorchIO draws from the global generator: leave it as it was
            torch.manual_seed(seed)
            return self.transform(volume.cpu())


def _each(image: Volume, source: Source, one: Callable[[Tensor, int], Tensor]) -> Volume:
    if image.device.type == "meta":  # shapes only: nothing to transform
        return torch.empty_like(image)
    seeds = [seed & 0xFFFFFFFF for seed in source.bits("seed").tolist()]
    volumes = []
    for volume, seed in zip(image.unbind(), seeds, strict=True):
        out = one(volume.clone(), seed)
        if out.shape != volume.shape:
            wanted, got = tuple(volume.shape), tuple(out.shape)
            raise ValueError(f"a transform in the chain must keep the shape {wanted}, got {got}")
        volumes.append(out.to(image))
    return torch.stack(volumes)
