"""The order of 2D images in a folder, and the axes that the numbers in their names count."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from anystar_torch.io.axes import LETTERS

#: Words before a number in the names of slices, and the axis that the number counts.
_WORDS = {
    **{word: letter for word, letter in LETTERS.items() if letter in "ZCT" and word != "s"},
    "ch": "C",
    "w": "C",
    "wave": "C",
    "tp": "T",
    "timepoint": "T",
    "zplane": "Z",
    "sl": "Z",
}
_MOST_NAMED = 3  # names that a message lists


def natural(name: str) -> list[tuple[str, int]]:
    """A key that sorts names by the numbers in them: z2 before z10.

    Args:
        name: of a file.
    """
    parts = re.split(r"([0-9]+)", name)
    return [(text, int(number)) for text, number in zip(parts[::2], [*parts[1::2], "-1"], strict=True)]


@dataclass(frozen=True)
class SliceGrid:
    """2D images in the order of the axes that their names count.

    Attributes:
        axes: name of every axis before y and x: "z", and "c" or "t" where the names count channels or time points;
            "" where the names do not say what a number counts.
        shape: number of images along every axis.
        images: the images, the last axis first.
    """

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    images: tuple[Path, ...]


def slice_grid(images: Sequence[Path], where: str) -> SliceGrid:
    """The axes of a folder of slices, by the numbers in their names.

    Args:
        images: the images of the folder.
        where: name of the folder in errors.

    Raises:
        ValueError: the names do not tell one order without gaps: they follow several patterns (a projection among
            slices), or a slice is missing or there twice.
    """
    numbers = _numbers(images, where)
    varying = [at for at in range(len(next(iter(numbers)))) if len({key[at] for key in numbers}) > 1]
    letters = _letters(images[0].stem, varying)
    values = [sorted({key[at] for key in numbers}) for at in varying]
    for letter, steps in zip(letters, values, strict=True):
        _check_steps(steps, letter, where)
    wanted: list[tuple[int, ...]] = [()]
    for steps in values:
        wanted = [(*key, step) for key in wanted for step in steps]
    found = {tuple(key[at] for at in varying): image for key, image in numbers.items()}
    missing = [key for key in wanted if key not in found]
    if missing:
        names = ", ".join(
            f"{letter.lower()} {number}" for letter, number in zip(letters, missing[0], strict=True)
        )
        raise ValueError(
            f"{where} holds no image of {names}; {len(missing)} of {len(wanted)} images are missing"
        )
    axes = tuple(letter.lower() for letter in letters)
    return SliceGrid(axes, tuple(map(len, values)), tuple(found[key] for key in wanted))


def _numbers(images: Sequence[Path], where: str) -> dict[tuple[int, ...], Path]:
    """The images by the numbers in their names.

    Raises:
        ValueError: the names differ in more than numbers, hold none, or two hold the same.
    """
    patterns: dict[str, list[Path]] = {}
    for image in images:
        patterns.setdefault(re.sub(r"[0-9]+", "#", image.stem), []).append(image)
    if len(patterns) > 1:
        kinds = sorted(patterns.items(), key=lambda item: -len(item[1]))
        told = ", ".join(f"{len(found)} like {found[0].name}" for _, found in kinds[:_MOST_NAMED])
        more = ", ..." if len(kinds) > _MOST_NAMED else ""
        raise ValueError(
            f"{where} holds images whose names differ in more than a number ({told}{more}); "
            "leave only the slices of one volume in it"
        )
    if "#" not in next(iter(patterns)):
        raise ValueError(
            f"{where} holds images without a number in their names; the order of the slices is unknown"
        )
    numbers: dict[tuple[int, ...], Path] = {}
    for image in images:
        key = tuple(map(int, re.findall(r"[0-9]+", image.stem)))
        if key in numbers:
            raise ValueError(
                f"{where} holds {numbers[key].name} and {image.name}, which have the same number"
            )
        numbers[key] = image
    return numbers


def _letters(name: str, varying: list[int]) -> list[str]:
    """The axis that each varying number of a name counts, by the word before it; "" where that is unknown."""
    words = re.findall(r"([A-Za-z]*)[^A-Za-z0-9]*[0-9]+", name)
    letters = [_WORDS.get(words[at].lower(), "") for at in varying]
    if letters.count("") == 1 and "Z" not in letters:
        letters[letters.index("")] = "Z"
    return [letter if letters.count(letter) == 1 else "" for letter in letters]


def _check_steps(steps: list[int], letter: str, where: str) -> None:
    """Refuse numbers with a gap: a step that is longer than the others.

    Raises:
        ValueError: names the first number that is missing.
    """
    distances = [after - before for before, after in pairwise(steps)]
    step = min(distances, default=1)
    for before, distance in zip(steps, distances, strict=False):
        if distance != step:
            raise ValueError(
                f"{where} holds no image of {letter.lower() or 'number'} {before + step}: the numbers of its images go "
                f"from {steps[0]} to {steps[-1]} in steps of {step}"
            )
