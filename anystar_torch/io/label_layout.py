"""How an OME-Zarr label image is cut: levels of a pyramid, shards that tasks write, and chunks inside of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil

LabelBox = tuple[slice, ...]  # along (t), z, y, x

CHUNK = 64  # voxels along z, y and x: about 1 MB of 32-bit labels before compression
SHARD = 256  # voxels along z, y and x
_COARSEST = 256  # voxels along every axis of the last level, at most
_ROUNDING = 1e-6  # of voxel sizes in files


@dataclass(frozen=True)
class Level:
    """One level of a pyramid; the tuples have one entry along (t), z, y, x.

    Attributes:
        shape: number of voxels.
        shard: voxels that one task writes.
        chunk: voxels that are compressed together; a shard is a whole number of them.
        factors: size of its voxels in those of the level before it.
        scale: size of its voxels in those of level 0.
    """

    shape: tuple[int, ...]
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    factors: tuple[int, ...]
    scale: tuple[int, ...]

    def boxes(self) -> Iterator[LabelBox]:
        """The shards, in the order of their positions; those at the end of an axis may be smaller."""
        return _boxes(self.shape, self.shard)

    def chunks_of(self, box: LabelBox) -> Iterator[LabelBox]:
        """The chunks of a shard, in the order of their positions.

        Args:
            box: one of :meth:`boxes`.
        """
        for part in _boxes([one.stop - one.start for one in box], self.chunk):
            yield tuple(slice(o.start + p.start, o.start + p.stop) for o, p in zip(box, part, strict=True))

    def source_of(self, box: LabelBox, finer: "Level") -> LabelBox:
        """The box of the finer level whose voxels a box of this level is made of.

        Args:
            box: of this level.
            finer: the level before this one.
        """
        return tuple(
            slice(one.start * factor, min(one.stop * factor, size))
            for one, factor, size in zip(box, self.factors, finer.shape, strict=True)
        )

    def is_shard(self, box: LabelBox) -> bool:
        """Whether a box is exactly one shard.

        Args:
            box: slices along (t), z, y, x.
        """
        return len(box) == len(self.shape) and all(
            one.step in (None, 1)
            and isinstance(one.start, int)
            and 0 <= one.start < size
            and one.start % shard == 0
            and one.stop == min(one.start + shard, size)
            for one, shard, size in zip(box, self.shard, self.shape, strict=True)
        )


def pyramid(
    shape: Sequence[int],
    *,
    spacing: Sequence[float] | None = None,
    shard: Sequence[int] | None = None,
    chunk: Sequence[int] | None = None,
    like: Sequence[Sequence[int]] | None = None,
) -> tuple[Level, ...]:
    """The levels of a label image.

    An axis is halved from one level to the next while its voxels are less than twice as long as the shortest side of
    a voxel, so that voxels become more isotropic; until no axis has more than 256 voxels. Time is never halved.

    Args:
        shape: of the labels, (t), z, y, x.
        spacing: voxel size (z, y, x); None for cubic voxels.
        shard: voxels (z, y, x) that one task writes, rounded up to whole chunks; None for 256 along each axis.
        chunk: voxels (z, y, x) that are compressed together; None for 64 along each axis, or less in small shards.
        like: shapes (z, y, x) of the levels of an image whose levels the labels get instead.

    Raises:
        ValueError: a size is not positive, the number of dimensions is not 3 or 4, or the image has another shape.
    """
    sizes = tuple(int(size) for size in shape)
    if len(sizes) not in (3, 4) or any(size < 1 for size in sizes):
        raise ValueError(f"labels must have the axes (t), z, y, x and at least one voxel, got shape {sizes}")
    if like is not None and tuple(like[0]) != sizes[-3:]:
        raise ValueError(
            f"labels of shape {sizes[-3:]} do not fit the image of shape {tuple(like[0])} (z, y, x)"
        )
    shard = _three((SHARD,) * 3 if shard is None else shard, "shard")
    chunk = _three([min(CHUNK, size) for size in shard] if chunk is None else chunk, "chunk")
    time = sizes[:-3]
    steps = _halvings(sizes[-3:], spacing) if like is None else _steps_like(like)
    found, scale = [], [1] * len(sizes)
    for factors, extent in steps:
        factors = (*(1 for _ in time), *factors)
        scale = [a * b for a, b in zip(scale, factors, strict=True)]
        inner = tuple(min(c, s) for c, s in zip(chunk, extent, strict=True))
        outer = tuple(
            ceil(min(whole, size) / part) * part
            for whole, size, part in zip(shard, extent, inner, strict=True)
        )
        one = (1,) * len(time)
        found.append(Level((*time, *extent), (*one, *outer), (*one, *inner), factors, tuple(scale)))
    return tuple(found)


_Step = tuple[tuple[int, ...], tuple[int, ...]]  # factors and shape of a level along (z, y, x)


def _halvings(shape: Sequence[int], spacing: Sequence[float] | None) -> Iterator[_Step]:
    """Levels that become more isotropic, until one is small."""
    sizes, step = tuple(shape), [float(size) for size in spacing or (1.0, 1.0, 1.0)]
    yield (1, 1, 1), sizes
    while max(sizes) > _COARSEST:
        factors = tuple(2 if size < 2 * min(step) * (1 - _ROUNDING) else 1 for size in step)
        step = [size * factor for size, factor in zip(step, factors, strict=True)]
        sizes = tuple(ceil(size / factor) for size, factor in zip(sizes, factors, strict=True))
        yield factors, sizes


def _steps_like(shapes: Sequence[Sequence[int]]) -> Iterator[_Step]:
    """The levels of an image, with whole factors.

    An image may leave out the voxels at the end of an axis that fill no whole voxel of the next level. So do labels.
    """
    sizes = tuple(shapes[0])
    yield (1, 1, 1), sizes
    for shape in shapes[1:]:
        factors = tuple(max(1, round(n / m)) for n, m in zip(sizes, shape, strict=True))
        sizes = tuple(
            m if m in (n // f, ceil(n / f)) else ceil(n / f)
            for n, m, f in zip(sizes, shape, factors, strict=True)
        )
        yield factors, sizes


def _three(given: Sequence[int], name: str) -> tuple[int, ...]:
    """Three positive sizes (z, y, x).

    Raises:
        ValueError: there are not three, or one is not positive.
    """
    sizes = tuple(int(size) for size in given)
    if len(sizes) != 3 or any(size < 1 for size in sizes):
        raise ValueError(f"{name} must be three positive sizes (z, y, x), got {given}")
    return sizes


def _boxes(shape: Sequence[int], block: Sequence[int]) -> Iterator[LabelBox]:
    """The blocks of a regular grid over an array, cut off at its end."""
    starts = (range(0, size, step) for size, step in zip(shape, block, strict=True))
    for corner in product(*starts):
        yield tuple(
            slice(begin, min(begin + step, size))
            for begin, step, size in zip(corner, block, shape, strict=True)
        )
