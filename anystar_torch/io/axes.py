"""The meaning of the dimensions of an array (z, y, x, channel, time), by one rule for all formats."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anystar_torch.io.stored import StoredImage
from anystar_torch.io.voxel_size import Spacing, voxel_size
from anystar_torch.system.wording import number_of

#: Names of axes in files, in lower case, by letter. RGB samples ("s") are channels.
_NAMES = {
    "Z": ("z", "depth", "plane", "pln", "slice"),
    "Y": ("y", "height", "row"),
    "X": ("x", "width", "column", "col"),
    "C": ("c", "channel", "channels", "s", "sample", "samples"),
    "T": ("t", "time", "frame", "frames"),
}
Box = tuple[slice, slice, slice]  # along (z, y, x)
LETTERS = {name: letter for letter, names in _NAMES.items() for name in names}

_UNUSED = "-"  # a dimension of size 1 without a meaning
_UNNAMED = {2: "YX", 3: "ZYX", 5: "TCZYX"}  # as in NumPy and ImageJ; four dimensions are ambiguous
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
        where: name of the image in errors.
        axes: letters of the caller, which replace the names in the file.
        channel: index of the channel. Without ``frame``, the first of four unnamed dimensions is the channel.
        frame: index of the time point. Without ``channel``, the first of four unnamed dimensions is time.

    Raises:
        ValueError: the dimensions are not those of a volume, or they are ambiguous without ``axes``.
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
            f"{where} is a time series of 2D images ({_described(letters, shape)}), not a volume; "
            f'if the first axis is z, set axes="{letters.replace("T", "Z").replace(_UNUSED, "C")}"'
        )
    if missing:
        message = not_a_volume(where, shape, letters)
        size = dict(zip(letters, shape, strict=True)).get("C", 1)
        if missing == ["Z"] and size > 1 and letters[-1] != "C":
            # tifffile writes three or four slices as the colours of one image
            message += (
                f'; if the first axis is z, set axes="{letters.replace("C", "Z").replace(_UNUSED, "C")}"'
            )
        raise ValueError(message)
    return letters


def not_a_volume(where: str, shape: tuple[int, ...], letters: str = "") -> str:
    """The error message for an array that is not a 3D volume.

    Args:
        where: name of the array.
        shape: of the array.
        letters: one per dimension, where they are known.
    """
    flat = set(letters) - {"C", _UNUSED} == {"Y", "X"} if letters else len(shape) == 2
    kind = "a 2D image" if flat else f"{len(shape)}D"
    described = _described(letters, shape) if letters else _sizes(shape)
    return f"{where} is {kind} ({described}); expected a volume with axes Z, Y, X"


def select(
    array: Any,
    letters: str,
    *,
    channel: int | None = None,
    frame: int | None = None,
    where: str,
    box: Box | None = None,
) -> NDArray[Any]:
    """The volume ``[D, H, W]`` of a stored array, or a box of it; only that is read.

    Args:
        array: is indexed with a tuple of integers and slices.
        letters: from :func:`decide`.
        channel: index of the channel, where there are several.
        frame: index of the time point, where there are several.
        where: name of the array in errors.
        box: slices along (z, y, x), without steps; None for the whole volume.

    Raises:
        ValueError: an index is missing, or out of range.
    """
    picked = picks(letters, array.shape, channel=channel, frame=frame, where=where)
    along = dict(zip("ZYX", box or (slice(None),) * 3, strict=True))
    index = tuple(along.get(letter, pick) for letter, pick in zip(letters, picked, strict=True))
    kept = [letter for letter in letters if letter in "ZYX"]
    return np.asarray(array[index]).transpose([kept.index(letter) for letter in "ZYX"])


def picks(
    letters: str, shape: Sequence[int], *, channel: int | None = None, frame: int | None = None, where: str
) -> list[int]:
    """The index of one channel and one time point along every dimension; 0 along z, y and x.

    Args:
        letters: from :func:`decide`.
        shape: sizes of the dimensions.
        channel: index of the channel, where there are several.
        frame: index of the time point, where there are several.
        where: name of the array in errors.

    Raises:
        ValueError: an index is missing, or out of range.
    """
    index = []
    wanted = {"C": channel, "T": frame}
    for letter, size in zip(letters, shape, strict=True):
        word, pick = _WORDS.get(letter), wanted.pop(letter, None)
        if word is None:
            index.append(0)
        elif pick is None and size > 1:
            raise ValueError(f"{where} has {size} {word}s; choose one with {word}= (0 to {size - 1})")
        elif pick is not None and not 0 <= pick < size:
            raise ValueError(
                f"{where} has {number_of(size, word)}, got {word}={pick}; choose 0 to {size - 1}"
            )
        else:
            index.append(pick or 0)
    for letter, pick in wanted.items():
        if pick:
            raise ValueError(f"{where} has one {_WORDS[letter]}, got {_WORDS[letter]}={pick}; choose 0")
    return index


def _given(axes: str, shape: tuple[int, ...], where: str) -> str:
    """The letters of the caller, if they fit the shape. Those of dimensions of size 1 may be left out."""
    letters = axes.upper().replace("S", "C")
    if not letters or set(letters) - set("ZYXCT") or len(set(letters)) < len(letters):
        raise ValueError(
            f'{where}: axes must be different letters of Z, Y, X, C and T such as "CZYX", got "{axes}"'
        )
    longer = [dimension for dimension, size in enumerate(shape) if size > 1]
    if len(letters) == len(shape):
        return letters
    if len(letters) == len(longer):
        placed = dict(zip(longer, letters, strict=True))
        return "".join(placed.get(dimension, _UNUSED) for dimension in range(len(shape)))
    raise ValueError(
        f'{where} has {number_of(len(shape), "dimension")} ({_sizes(shape)}), and axes="{axes}" names {len(letters)}'
    )


def _named(names: Sequence[str], shape: tuple[int, ...], where: str) -> str:
    """The letters of the names in a file. The only unknown name means z where no other axis does."""
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
            f"{where} has axes {called} ({_sizes(shape)}), whose meaning is unknown; "
            'set axes= (one letter per axis, such as axes="ZYX")'
        )
    return "".join(letters)


def _unnamed(shape: tuple[int, ...], where: str, channel: int | None, frame: int | None) -> str:
    """The letters of dimensions without names, by their number and by the indices that are given."""
    short_last = len(shape) > 2 and shape[-1] <= _FEW and min(shape[-3:-1]) >= _MANY
    letters = _UNNAMED.get(len(shape))
    if len(shape) == 4 and (channel is None) != (frame is None):
        letters = "TZYX" if channel is None else "CZYX"
    elif len(shape) == 4 and shape[0] == 1:
        letters = f"{_UNUSED}ZYX"
    if letters is None or short_last:
        example = {3: "YXC", 4: "ZYXC" if short_last else "CZYX", 5: "TZYXC"}.get(len(shape), "ZYX")
        raise ValueError(
            f"{where} has {number_of(len(shape), 'dimension')} without names ({_sizes(shape)}), whose meaning is "
            f'unknown; set axes= (one letter per axis, such as axes="{example}")'
        )
    return letters


def _described(letters: str, shape: tuple[int, ...]) -> str:
    """Sizes and letters of the dimensions, as text."""
    return f"{_sizes(shape)}, axes {''.join(letters)}"


def _sizes(shape: tuple[int, ...]) -> str:
    """Sizes of the dimensions, as text."""
    return " x ".join(map(str, shape))


def spacing_of(stored: StoredImage, letters: str, where: str) -> tuple[Spacing | None, str]:
    """Spacing (z, y, x) and unit of a stored image, as :func:`anystar_torch.io.voxel_size.voxel_size` returns them.

    Args:
        stored: the image.
        letters: from :func:`decide`.
        where: name of the file in errors.

    Raises:
        ValueError: the size is implausible, or the file must have one and has none.
    """
    if stored.unsized:
        raise ValueError(stored.unsized)
    return voxel_size(*by_letter(stored, letters), where)


def by_letter(stored: StoredImage, letters: str) -> tuple[dict[str, Any], dict[str, str | None]]:
    """Voxel sizes and units of a stored image under the names "z", "y" and "x".

    Where a caller renames dimensions, each keeps its size.

    Args:
        stored: the image.
        letters: from :func:`decide`.
    """
    new = _renamed(stored, letters)
    sizes = {new.get(name.lower(), name.lower()): size for name, size in stored.sizes.items()}
    units = {new.get(name.lower(), name.lower()): unit for name, unit in stored.units.items()}
    return sizes, units


def affine_of(stored: StoredImage, letters: str) -> NDArray[Any] | None:
    """The affine of a stored image with its columns in the order x, y, z of ``letters``; None where it has none.

    Args:
        stored: the image.
        letters: from :func:`decide`.
    """
    if stored.affine is None:
        return None
    old = {letter: name for name, letter in _renamed(stored, letters).items()}
    columns = ["xyz".find(old.get(letter, letter)) for letter in "xyz"]
    if sorted(columns) != [0, 1, 2]:
        return None  # an axis of time or channels has no direction in space
    moved: NDArray[Any] = stored.affine[:, [*columns, 3]]
    return moved


def _renamed(stored: StoredImage, letters: str) -> dict[str, str]:
    """The letter, in lower case, of every named axis."""
    pairs = zip(stored.axes, letters, strict=True)
    return {name.lower(): letter.lower() for name, letter in pairs if name and letter != _UNUSED}
