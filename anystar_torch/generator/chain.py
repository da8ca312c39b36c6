"""The order of intensity effects, and the draws each of them gets.

An effect is anything called as ``effect(image, source) -> image``. The synthesizer runs two chains, because
the original resamples its volume between them::

    image = effects(image, source)                      # Chain: bias field ... histogram shift
    image = torch.where(inside, image, 0.0)             # the synthesizer's: what padding fills is 0 ...
    image, labels = finish(image, labels, source)       # ... before the rescale to [0, 1]
    # and then the synthesizer makes the pieces of cut objects separate labels

Every effect draws from the stream of its name, which is its key in the configuration: adding, removing or
reordering effects changes no other effect's draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from anystar_torch.arrays import Labels, PerSampleAxis, Volume
from anystar_torch.random.source import Source


@runtime_checkable
class IntensityEffect(Protocol):
    """What an instrument does to an image: any callable from image and draws to image, of the same shape."""

    def __call__(self, image: Volume, source: Source) -> Volume:
        """``image`` ``[B, 1, D, H, W]`` as the instrument would have recorded it; not in place."""
        ...


@runtime_checkable
class Blurring(Protocol):
    """An intensity effect that can tell how wide it blurs."""

    def blur_width(self, source: Source) -> PerSampleAxis:
        """``[B, 3]``, the standard deviation along z, y, x of the blur it draws from ``source``, voxels."""
        ...


@runtime_checkable
class CuttingEffect(Protocol):
    """An effect that takes parts of the objects away, so that the labels change with the image."""

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Image and labels ``[B, 1, D, H, W]`` with the same voxels cut out."""
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Intensity effects, one after the other.

    Attributes:
        effects: name -> effect, in the order of application. The name is also the name of the effect's random stream.
        streams: name of an effect -> name of its random stream, where the two differ.
    """

    effects: Mapping[str, IntensityEffect]
    streams: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Run ``image`` ``[B, 1, D, H, W]`` through every effect, each with its own named draws."""
        for name, effect in self.effects.items():
            image = effect(image, self._stream(name, source))
        return image

    def blur_width(self, source: Source) -> PerSampleAxis:
        """How wide the chain blurs each sample, ``[B, 3]`` along z, y, x, voxels: of the effects that can tell."""
        total = torch.zeros(len(source.root), 3, device=source.root.device)
        for name, effect in self.effects.items():
            if isinstance(effect, Blurring):
                total = total + effect.blur_width(self._stream(name, source)).square()
        return total.sqrt()

    def _stream(self, name: str, source: Source) -> Source:
        """The draws of the effect called ``name``."""
        return source(self.streams.get(name, name))


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The end of a sample: rescale to [0, 1], cut holes, add what the last detector adds.

    The order is AnyStar's (``ScaleIntensityd``, ``RandCoarseDropoutd``, then scikit-image noise): the holes
    are exact zeros, and the noise leaves exact zeros alone.

    Attributes:
        rescale: brings the image to [0, 1].
        dropout: cuts image and labels.
        noise: effects on an image in [0, 1] that keep it there.
    """

    rescale: IntensityEffect
    dropout: CuttingEffect
    noise: Chain

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Finish ``image`` and ``labels`` ``[B, 1, D, H, W]``; pieces of a cut object share its id."""
        image = self.rescale(image, source("rescale"))
        image, labels = self.dropout(image, labels, source("dropout"))
        return self.noise(image, source), labels


def with_chance(p: float, effect: IntensityEffect, image: Volume, source: Source) -> Volume:
    """Apply ``effect`` to each sample of a batch with chance ``p``; the others keep their bits.

    On the CPU looking at the coins costs nothing, so only the chosen samples are computed. Elsewhere looking
    would make the host wait for the device: every sample is computed, and the chosen ones kept. As draws
    belong to samples and arithmetic does not mix them, both give the same bits
    (tests/generator/effects/test_contract.py).

    Args:
        p: the chance; at 0 nothing is computed anywhere.
        effect: the effect as if it were always applied.
        image: ``[B, 1, D, H, W]``.
        source: the effect's draws.

    Returns:
        ``[B, 1, D, H, W]``; ``image`` itself where nothing was chosen.
    """
    if p == 0.0:
        return image
    chosen = source.coin("applied", p)
    if image.device.type != "cpu" or torch.compiler.is_compiling():
        return torch.where(chosen[:, None, None, None, None], effect(image, source), image)
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return image
    if len(rows) == len(image):
        return effect(image, source)
    return image.index_copy(0, rows, effect(image[rows], source[rows]))
