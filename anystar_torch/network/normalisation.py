"""The named normalisations: how grey values are mapped to about [0, 1] before the network sees them.

A network is used with the normalisation it was trained with, whose name is part of its configuration.
:mod:`anystar_torch.inference.intensity_range` computes the two grey values of a volume.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """A linear map of grey values, defined by two quantiles of the volume.

    Attributes:
        low: quantile that is mapped to 0, in [0, 1].
        high: quantile that is mapped to 1, in [0, 1].
        clip: whether values outside of the two quantiles are set to 0 and 1.
        description: the same in words.
    """

    low: float
    high: float
    clip: bool
    description: str


NORMALISATIONS = {
    "percentile": Normalisation(
        0.01, 0.998, False, "the 1 % and 99.8 % quantiles are mapped to 0 and 1, nothing is clipped"
    ),
    "minmax": Normalisation(0.0, 1.0, True, "minimum and maximum are mapped to 0 and 1"),
    "anystar": Normalisation(
        0.0, 0.999, True, "minimum and 99.9 % quantile are mapped to 0 and 1, higher values are clipped"
    ),
    "clipped": Normalisation(
        0.001, 0.999, True, "the 0.1 % and 99.9 % quantiles are mapped to 0 and 1, the rest is clipped"
    ),
}
"""All normalisations by name.

``percentile`` is StarDist's default. ``anystar`` is that of AnyStar's inference, without its clipping at 0, which would
remove negative values (CT). With ``clipped`` an inverted volume is normalised to the inverse of the normalised volume.
"""
