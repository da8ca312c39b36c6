"""The order of intensity effects, and the random stream of each.

An effect is any callable ``effect(image, source) -> image``. The synthesizer runs two chains, because AnyStar resamples
its volume between them::

    image = effects(image, source)                      # Chain: bias field ... histogram shift
    image = image * coordinates.cover                   # the synthesizer: 0 outside of the recorded box
    image, labels = finish(image, labels, source)       # rescaling to [0, 1], holes, detector noise

Every effect draws from a random stream with the name of its key in the configuration. Adding, removing or reordering
effects therefore changes no other effect's draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import torch

from anystar_torch.arrays import Labels, PerSampleAxis, Volume
from anystar_torch.generator.parameters import check_effect
from anystar_torch.random.source import Source


@runtime_checkable
class IntensityEffect(Protocol):
    """What an instrument does to an image: any callable from image and draws to an image of the same shape.

    An effect that does not blur says so with an attribute ``blurs`` that is False. An effect that blurs has a method
    ``blur_width`` (:class:`BlurringEffect`). A generator that places outlines refuses effects with neither.
    """

    def __call__(self, image: Volume, source: Source) -> Volume:
        """The recorded image, ``[B, 1, D, H, W]``; a new tensor.

        Args:
            image: ``[B, 1, D, H, W]``.
            source: draws of the effect.
        """
        ...


@runtime_checkable
class BlurringEffect(Protocol):
    """An intensity effect that reports the width of its blur."""

    def blur_width(self, source: Source) -> PerSampleAxis:
        """Standard deviation along z, y, x of the blur that is drawn from ``source``, ``[B, 3]``, voxels.

        More generally, of the Gaussian blur that puts a quarter of the height of a flat edge at the same place.

        Args:
            source: draws of the effect, as in its call.
        """
        ...


@runtime_checkable
class CuttingEffect(Protocol):
    """An effect that removes parts of the objects from image and labels."""

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Image and labels ``[B, 1, D, H, W]`` with the same voxels removed.

        Args:
            image: ``[B, 1, D, H, W]``.
            labels: ``[B, 1, D, H, W]``.
            source: draws of the effect.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Intensity effects in a fixed order.

    Attributes:
        effects: name -> effect, in the order of application. The name is also the name of the effect's random stream.
        streams: name of an effect -> name of its random stream, where the two differ.
    """

    effects: Mapping[str, IntensityEffect]
    streams: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, effect in self.effects.items():
            check_effect(name, effect)

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Apply all effects to ``image`` ``[B, 1, D, H, W]``, each with its own draws."""
        for name, effect in self.effects.items():
            image = effect(image, self._stream(name, source))
        return image

    def blur_width(self, source: Source) -> PerSampleAxis:
        """Standard deviation of the blur of all effects together, ``[B, 3]`` along z, y, x, voxels.

        Args:
            source: draws of the chain, as in the call of the chain.

        Raises:
            ValueError: an effect does not report the width of its blur.
        """
        self.check_blur_is_known()
        total = torch.zeros(len(source.root), 3, dtype=torch.float32, device=source.root.device)
        for name, effect in self.effects.items():
            if isinstance(effect, BlurringEffect):
                total = total + effect.blur_width(self._stream(name, source)).square()
        return total.sqrt()

    def check_blur_is_known(self) -> None:
        """Check that every effect either reports the width of its blur or does not blur.

        Raises:
            ValueError: names the effects that do neither.
        """
        unknown = [
            f"{name} ({type(effect).__name__})"
            for name, effect in self.effects.items()
            if not isinstance(effect, BlurringEffect) and getattr(effect, "blurs", True)
        ]
        if unknown:
            raise ValueError(
                "outlines are placed by the blur of the image, but these effects may blur and do not report a width: "
                f"{', '.join(unknown)}. Set scene.outline.widths=[0,0], or give them a method blur_width(source), "
                "or an attribute blurs=False if they do not blur"
            )

    def _stream(self, name: str, source: Source) -> Source:
        """The draws of the effect called ``name``."""
        return source(self.streams.get(name, name))


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The last steps of a sample: rescaling to [0, 1], holes, and detector noise.

    The order is AnyStar's (``ScaleIntensityd``, ``RandCoarseDropoutd``, scikit-image noise). Holes are exact zeros, and
    the noise does not change exact zeros.

    Attributes:
        rescale: brings the image to [0, 1].
        dropout: removes cubes from image and labels.
        noise: effects that keep an image in [0, 1].
    """

    rescale: IntensityEffect
    dropout: CuttingEffect
    noise: Chain

    def __post_init__(self) -> None:
        for name in ("rescale", "dropout", "noise"):
            check_effect(name, getattr(self, name))

    def __call__(self, image: Volume, labels: Labels, source: Source) -> tuple[Volume, Labels]:
        """Finish ``image`` and ``labels`` ``[B, 1, D, H, W]``; the pieces of a cut object share its id."""
        image = self.rescale(image, source("rescale"))
        image, labels = self.dropout(image, labels, source("dropout"))
        return self.noise(image, source), labels


def with_chance(p: float, effect: IntensityEffect, image: Volume, source: Source) -> Volume:
    """Apply ``effect`` to each sample of a batch with chance ``p``; the other samples keep their bits.

    On the CPU only the chosen samples are computed. On other devices, reading which samples are chosen would make the
    host wait: there all samples are computed, and the chosen ones are kept. Both give the same bits, because draws
    belong to samples and arithmetic does not mix samples (tests/generator/effects/test_contract.py).

    Args:
        p: the chance; at 0 nothing is computed.
        effect: the effect as if it were always applied.
        image: ``[B, 1, D, H, W]``.
        source: draws of the effect.

    Returns:
        ``[B, 1, D, H, W]``; ``image`` itself if no sample is chosen.
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
