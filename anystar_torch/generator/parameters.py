"""Ranges, chances and whole numbers of a configuration: checks with an error of one line, and draws.

The checks take values of any type: a configuration may hold text, null or one number where several are needed.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

from torch import Tensor

from anystar_torch.random.source import Source

Range = Sequence[float]
"""The two bounds (low, high) of a uniform draw."""


def check_chance(name: str, value: object) -> None:
    """Refuse a probability outside [0, 1].

    Args:
        name: of the parameter, for the message.
        value: the probability.

    Raises:
        ValueError: ``value`` is no probability.
    """
    if not _number(value, 0.0, 1.0):
        raise ValueError(f"{name} must be a probability in [0, 1], got {value}")


def check_range(name: str, value: object, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse anything but two finite numbers in order inside [low, high].

    Args:
        name: of the parameter, for the message.
        value: the two numbers.
        low: least number that is allowed.
        high: largest number that is allowed.

    Raises:
        ValueError: not two numbers, not in order, not finite, or outside the bounds.
    """
    bounds = [float(bound) for bound in _listed(value) if isinstance(bound, Real)]
    good = len(bounds) == len(_listed(value)) == 2 and all(map(math.isfinite, bounds))
    if not good or not low <= bounds[0] <= bounds[1] <= high:
        raise ValueError(
            f"{name} must be two finite numbers [from, to] in order, from {low} to {high}, got {_shown(value)}"
        )


def check_numbers(name: str, value: object, low: float, high: float) -> None:
    """Refuse anything but numbers inside [low, high], at least one.

    Args:
        name: of the parameter, for the message.
        value: the numbers.
        low: least number that is allowed.
        high: largest number that is allowed.

    Raises:
        ValueError: no numbers, none at all, or outside the bounds.
    """
    numbers = _listed(value)
    if not numbers or not all(_number(number, low, high) for number in numbers):
        raise ValueError(f"{name} must be numbers from {low} to {high}, got {_shown(value)}")


def check_whole(name: str, value: object, low: int, high: int | None = None) -> None:
    """Refuse anything but a whole number inside [low, high].

    Args:
        name: of the parameter, for the message.
        value: the number.
        low: least number that is allowed.
        high: largest number that is allowed; None for no limit.

    Raises:
        ValueError: no whole number, or outside the bounds.
    """
    if not _whole(value, low, high):
        raise ValueError(f"{name} must be a whole number{_within(low, high)}, got {_shown(value)}")


def check_whole_numbers(
    name: str, value: object, low: int, high: int | None = None, different: bool = False
) -> None:
    """Refuse anything but whole numbers inside [low, high], at least one.

    Args:
        name: of the parameter, for the message.
        value: the numbers.
        low: least number that is allowed.
        high: largest number that is allowed; None for no limit.
        different: whether equal numbers are refused.

    Raises:
        ValueError: no whole numbers, none at all, outside the bounds, or equal where they must differ.
    """
    numbers = _listed(value)
    good = bool(numbers) and all(_whole(number, low, high) for number in numbers)
    if not good or (different and len(set(numbers)) < len(numbers)):
        kind = "different whole numbers" if different else "whole numbers"
        raise ValueError(f"{name} must be {kind}{_within(low, high)}, got {_shown(value)}")


def check_effect(name: str, value: object) -> None:
    """Refuse an effect that cannot be called, such as a null of a configuration.

    Args:
        name: of the effect, for the message.
        value: the effect.

    Raises:
        ValueError: ``value`` cannot be called.
    """
    if not callable(value):
        raise ValueError(f"{name} must be an effect, got {value}; p=0 switches an effect off")


def check_given(**parts: object) -> None:
    """Refuse parts of a generator that are missing: a null of a configuration.

    Args:
        parts: name of each part and the part.

    Raises:
        ValueError: a part is None.
    """
    for name, part in parts.items():
        if part is None:
            raise ValueError(f"{name} must not be null: the generator needs this part")


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


def _listed(value: object) -> list[object]:
    """The elements of a sequence; none of what is no sequence."""
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else []


def _shown(value: object) -> object:
    """A value for a message: sequences of every class as lists."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str) else value


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, Real) and low <= float(value) <= high


def _whole(value: object, low: int, high: int | None) -> bool:
    if not isinstance(value, Integral) or isinstance(value, bool):
        return False
    return low <= int(value) and (high is None or int(value) <= high)


def _within(low: int, high: int | None) -> str:
    return f" of at least {low}" if high is None else f" from {low} to {high}"
