"""Ranges and chances of a configuration: checks with an error of one line, and draws."""

import math
from collections.abc import Sequence

from torch import Tensor

from anystar_torch.random.source import Source

Range = Sequence[float]
"""The two bounds (low, high) of a uniform draw."""


def check_chance(name: str, value: float) -> None:
    """Refuse a probability outside [0, 1].

    Args:
        name: of the parameter, for the message.
        value: the probability.

    Raises:
        ValueError: ``value`` is no probability.
    """
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be a probability in [0, 1], got {value}")


def check_range(name: str, value: Range, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse anything but two finite numbers in order inside [low, high].

    Args:
        name: of the parameter, for the message.
        value: the two numbers.
        low: least number that is allowed.
        high: largest number that is allowed.

    Raises:
        ValueError: not two numbers, not in order, not finite, or outside the bounds.
    """
    wanted = f"{name} must be two finite numbers [from, to] in order, from {low} to {high}"
    if len(value) != 2 or not all(math.isfinite(bound) for bound in value):
        raise ValueError(f"{wanted}, got {list(value)}")
    if not low <= value[0] <= value[1] <= high:
        raise ValueError(f"{wanted}, got {list(value)}")


def draw(source: Source, name: str, bounds: Range, *shape: int) -> Tensor:
    """Uniform between two bounds, ``[B, *shape]``.

    Args:
        source: draws.
        name: of the draw.
        bounds: the two bounds.
        shape: of the draw of one sample.
    """
    low, high = bounds
    return source.uniform(name, low, high, *shape)
