"""Filters with the effect of linear interpolation on edges and noise, without resampling.

AnyStar resamples its image three times. At a fraction f between voxels, linear interpolation averages two neighbours
with the weights 1 - f and f. It widens edges by the variance f (1 - f), on average 1/6. It keeps (1 - f)^2 + f^2 of the
variance of white noise. Symmetric filters of three taps do the same here.
"""

import math

MEAN_SPREAD = 1.0 / 6.0
"""Variance by which linear interpolation widens an edge, on average over fractions; squared voxels, per axis."""

LARGEST_SPREAD = 2.0 / 3.0
"""Largest variance by which three taps widen an edge: that of three equal taps; squared voxels, per axis. With wider
taps the centre would weigh less than its neighbours. Above a variance of 1 it would weigh less than 0, and edges would
reverse."""


def side_tap(variance: float) -> float:
    """The weight of each neighbour that spreads an edge by ``variance``, at most 1/3.

    Args:
        variance: by which the filter spreads an edge, squared voxels, from 0 to :data:`LARGEST_SPREAD`.
    """
    return variance / 2.0


def noise_side_tap(variance: float) -> float:
    """The weight of each neighbour that keeps as much white noise as interpolation of this variance does.

    Taps (a, 1 - 2a, a) keep ``1 - 4a + 6a^2``; interpolation keeps ``1 - 2 variance``.

    Args:
        variance: by which interpolation spreads an edge, squared voxels, from 0 to 1/3.
    """
    return (1.0 - math.sqrt(1.0 - 3.0 * variance)) / 3.0
