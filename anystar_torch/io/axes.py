"""Which dimension of a stored array is z, y, x, channel or time: one rule for all formats."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.stored import StoredImage

#: Names of axes in files, in lower case, and the letter of each. RGB samples ("s") are channels.
LETTERS = {
    "z": "Z", "depth": "Z", "plane": "Z", "pln": "Z", "slice": "Z",
    "y": "Y", "height": "Y", "row": "Y",
    "x": "X", "width": "X", "column": "X", "col": "X",
    "c": "C", "channel": "C", "channels": "C", "s": "C", "sample": "C", "samples": "C",
    "t": "T", "time": "T", "frame": "T", "frames": "T",
}  # fmt: skip

_UNUSED = "-"  # a dimension of size 1 that is none of the others
_UNNAMED = {2: "YX", 3: "ZYX", 5: "TCZYX"}  # by NumPy's and ImageJ's habit; four dimensions are ambiguous
_WORDS = {"C": "channel", "T": "frame"}
_FEW, _MANY = 4, 32  # no axis z, y or x is as short as _FEW where another is as long as _MANY


def decide(
    stored: StoredImage,
    where: str,
    *,
    axes: str | None = None,
    channel: int | None = None,
    frame: int | None = None,
) -> str:
    """One letter per dimension of a stored image: Z, Y, X, C (channel), T (time), or "-" (size 1, unused).

    Args:
        stored: the image.
        where: what errors call it.
        axes: letters that the caller gives; they replace the file's names.
        channel: which channel is wanted. With four unnamed dimensions it says that the first is the channel.
        frame: which time point is wanted. With four unnamed dimensions it says that the first is the time.

    Raises:
        ValueError: the dimensions are no volume, or what they are cannot be known without ``axes``.
    """
    shape = stored.shape
    if axes is not None:
        letters = _given(axes, shape, where)
    elif any(stored.axes):
        letters = _named(stored.axes, shape, where)
    else:
        letters = _unnamed(shape, where, channel, frame)
    missing = [letter for letter in "ZYX" if letter not in letters]
    if missing == ["Z"] and "T" in letters:
        raise ValueError(
            f"{where} is a time series of 2D images ({_described(letters, shape)}), no volume; "
            f'if the first axis is z, say axes="{letters.replace("T", "Z").replace(_UNUSED, "C")}"'
        )
    if missing:
        raise ValueError(not_a_volume(where, shape, letters))
    return letters


def not_a_volume(where: str, shape: tuple[int, ...], letters: str = "") -> str:
    """The message for an array that is no 3D volume."""
    flat = set(letters) - {"C", _UNUSED} == {"Y", "X"} if letters else len(shape) == 2
    kind = "a 2D image" if flat else f"{len(shape)}D"
    described = _described(letters, shape) if letters else _sizes(shape)
    return f"{where} is {kind} ({described}); a volume with axes Z, Y, X is expected"


def select(
    array: Any, letters: str, *, channel: int | None = None, frame: int | None = None, where: str
) -> NDArray[Any]:
    """The volume ``[D, H, W]`` of a stored array; only that volume is read.

    Args:
        array: is indexed with a tuple of integers and slices.
        letters: what :func:`decide` gave.
        channel: which channel, where there are several.
        frame: which time point, where there are several.
        where: what errors call the array.

    Raises:
        ValueError: there are several channels or time points and none is chosen, or fewer than the chosen one.
    """
    index: list[Any] = []
    wanted = {"C": channel, "T": frame}
    for letter, size in zip(letters, array.shape, strict=True):
        word, pick = _WORDS.get(letter), wanted.pop(letter, None)
        if word is None:
            index.append(0 if letter == _UNUSED else slice(None))
        elif pick is None and size > 1:
            raise ValueError(f"{where} has {size} {word}s; choose one with {word}= (0 to {size - 1})")
        elif pick is not None and not 0 <= pick < size:
            raise ValueError(f"{where} has {size} {word}s, got {word}={pick}; choose 0 to {size - 1}")
        else:
            index.append(pick or 0)
    for letter, pick in wanted.items():
        if pick:
            raise ValueError(f"{where} has one {_WORDS[letter]}, got {_WORDS[letter]}={pick}; choose 0")
    kept = [letter for letter in letters if letter in "ZYX"]
    return np.asarray(array[tuple(index)]).transpose([kept.index(letter) for letter in "ZYX"])


def _given(axes: str, shape: tuple[int, ...], where: str) -> str:
    """The letters that a caller gave, checked; those of dimensions of size 1 may be left out."""
    letters = axes.upper().replace("S", "C")
    if not letters or set(letters) - set("ZYXCT") or len(set(letters)) < len(letters):
        raise ValueError(f'axes must be different letters of Z, Y, X, C and T such as "CZYX", got "{axes}"')
    longer = [dimension for dimension, size in enumerate(shape) if size > 1]
    if len(letters) == len(shape):
        return letters
    if len(letters) == len(longer):
        placed = dict(zip(longer, letters, strict=True))
        return "".join(placed.get(dimension, _UNUSED) for dimension in range(len(shape)))
    raise ValueError(
        f'{where} has {len(shape)} dimensions ({_sizes(shape)}), and axes="{axes}" names {len(letters)}'
    )


def _named(names: Sequence[str], shape: tuple[int, ...], where: str) -> str:
    """The letters of names that a file gives; one unknown name stands for z where no other axis does."""
    letters = [LETTERS.get(name.lower(), "?") for name in names]
    letters = [
        _UNUSED if size == 1 and (letter == "?" or letters.count(letter) > 1) else letter
        for letter, size in zip(letters, shape, strict=True)
    ]
    if letters.count("?") == 1 and "Z" not in letters and {"Y", "X"} <= set(letters):
        letters[letters.index("?")] = "Z"
    known = [letter for letter in letters if letter != _UNUSED]
    if "?" in known or len(set(known)) < len(known):
        called = ", ".join(name or "(no name)" for name in names)
        raise ValueError(
            f"{where} has axes {called} ({_sizes(shape)}), and what they are cannot be told; "
            'say it with axes= (one letter per axis, such as axes="ZYX")'
        )
    return "".join(letters)


def _unnamed(shape: tuple[int, ...], where: str, channel: int | None, frame: int | None) -> str:
    """The letters of dimensions without names, by their number and what is asked for."""
    short_last = len(shape) > 2 and shape[-1] <= _FEW and min(shape[-3:-1]) >= _MANY
    letters = _UNNAMED.get(len(shape))
    if len(shape) == 4 and (channel is None) != (frame is None):
        letters = "TZYX" if channel is None else "CZYX"
    elif len(shape) == 4 and shape[0] == 1:
        letters = f"{_UNUSED}ZYX"
    if letters is None or short_last:
        example = {3: "YXC", 4: "ZYXC" if short_last else "CZYX", 5: "TZYXC"}.get(len(shape), "ZYX")
        raise ValueError(
            f"{where} has {len(shape)} dimensions without names ({_sizes(shape)}), and what they are cannot be "
            f'told; say it with axes= (one letter per axis, such as axes="{example}")'
        )
    return letters


def _described(letters: str, shape: tuple[int, ...]) -> str:
    return f"{_sizes(shape)}, axes {''.join(letters)}"


def _sizes(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def by_letter(stored: StoredImage, letters: str) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and units of a stored image under the names "z", "y" and "x".

    A size belongs to its dimension: where a caller renames the dimensions, their sizes go with them.
    """
    new = _renamed(stored, letters)
    sizes = {new.get(name.lower(), name.lower()): size for name, size in stored.sizes.items()}
    units = {new.get(name.lower(), name.lower()): unit for name, unit in stored.units.items()}
    return sizes, units


def affine_of(stored: StoredImage, letters: str) -> NDArray[Any] | None:
    """The affine of a stored image, its columns in the order of the axes x, y, z that ``letters`` names."""
    if stored.affine is None:
        return None
    old = {letter: name for name, letter in _renamed(stored, letters).items()}
    columns = ["xyz".find(old.get(letter, letter)) for letter in "xyz"]
    if sorted(columns) != [0, 1, 2]:
        return None  # an axis that was no axis of space has no direction in it
    moved: NDArray[Any] = stored.affine[:, [*columns, 3]]
    return moved


def _renamed(stored: StoredImage, letters: str) -> dict[str, str]:
    """The letter, in lower case, of every name of a stored image."""
    pairs = zip(stored.axes, letters, strict=True)
    return {name.lower(): letter.lower() for name, letter in pairs if name and letter != _UNUSED}
