"""Layers computed for a box of the volume, and some planes at a time: for predictions that must take little memory.

Every plane of a layer is computed once. A slab reads the planes around it from the layer before.
"""

from collections.abc import Iterator, Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from anystar_torch.arrays import Triple

Box = tuple[Triple, Triple]
"""First grid point of a box, and the grid point after its last one, (z, y, x)."""

_POINTS = 1 << 16
"""Grid points of a slab, about: 17 MB for 64 channels in float32. The allocator uses blocks of this size again."""

_PLANES = 2
"""Planes of a slab, at least: one plane takes twice as long as one of two."""


def slabs(size: Sequence[int], multiple: int = 1) -> Iterator[tuple[int, int]]:
    """First plane of each slab of a volume, and the plane after its last one.

    Args:
        size: grid points of the volume, (z, y, x).
        multiple: slabs begin at multiples of it.
    """
    depth, height, width = size
    wanted = max(_PLANES, _POINTS // max(1, height * width))
    thickness = max(multiple, wanted // multiple * multiple)
    for first in range(0, depth, thickness):
        yield first, min(first + thickness, depth)


def planes(x: Tensor, first: int, stop: int) -> Tensor:
    """Planes ``first`` to ``stop`` of ``[B, C, D, H, W]``; zeros before the first plane and after the last one.

    Args:
        x: a volume.
        first: first plane; negative before the volume.
        stop: plane after the last one.
    """
    low, high = max(first, 0), min(stop, x.shape[2])
    part = x[:, :, low:high]
    return part if (low, high) == (first, stop) else F.pad(part, (0, 0, 0, 0, low - first, stop - high))


def convolved(layer: nn.Conv3d, x: Tensor, first: int, stop: int) -> Tensor:
    """Planes ``first`` to ``stop`` of a convolution that keeps the size.

    Args:
        layer: the convolution, with a kernel of odd size and stride 1.
        x: its whole input.
        first: first plane.
        stop: plane after the last one.
    """
    depth, height, width = (size // 2 for size in layer.kernel_size)
    part = planes(x, first - depth, stop + depth)
    return F.conv3d(part, layer.weight, layer.bias, 1, (0, height, width))


def cropped(x: Tensor, box: Box, origin: Triple = (0, 0, 0)) -> Tensor:
    """A box of ``[B, C, D, H, W]``, a view.

    Args:
        x: a volume.
        box: the box.
        origin: grid point of the first element of ``x``.
    """
    z, y, x_ = (slice(a - o, b - o) for a, b, o in zip(*box, origin, strict=True))
    return x[:, :, z, y, x_]


def grown(box: Box, margin: Triple, multiple: Triple, size: Triple) -> Box:
    """A box with a margin inside a volume, with corners at multiples of some grid points.

    Args:
        box: the box.
        margin: grid points on each side.
        multiple: what the corners are multiples of; ``size`` is one.
        size: grid points of the volume.
    """
    axes = zip(*box, margin, multiple, size, strict=True)
    bounds = [
        (max(0, (low - m) // step * step), min(total, -(-(high + m) // step) * step))
        for low, high, m, step, total in axes
    ]
    (z, d), (y, h), (x, w) = bounds
    return (z, y, x), (d, h, w)


def is_odd(kernel: Triple) -> bool:
    """Whether a kernel has a centre, which :func:`convolved` needs.

    Args:
        kernel: its size, (z, y, x).
    """
    return all(size % 2 for size in kernel)
