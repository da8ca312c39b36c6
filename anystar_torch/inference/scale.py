"""Sizes: how a volume is resampled for the network, and how what it finds comes back.

The network knows objects of a certain size, on voxels of a certain shape. A :class:`Scaling` says where the
voxels of the resampled volume lie in the input, makes any box of them on demand (the whole resampled volume
never exists), and takes points and distances back. Labels are never resampled: polyhedra are rendered at the
input's own resolution.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.intensity_range import IntensityRange
from anystar_torch.inference.transfer import Transfer, transfer_to

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]
Taps = tuple[NDArray[np.int64], NDArray[np.float32]]
_AT_A_TIME = 1 << 23  # input voxels that are resampled together: memory beside the result stays small
_FLOAT32_SPAN = 1e-18, 1e18  # widths of intensity ranges that float32 can subtract and divide
_UNITS = {"nm": 1e-3, "um": 1.0, "\u00b5m": 1.0, "\u03bcm": 1.0, "mm": 1e3, "cm": 1e4}  # two signs for micro


def voxels(diameter: float | int | str, spacing: Sequence[float | int] | None) -> float:
    """A diameter in voxels of the finest axis.

    Args:
        diameter: a number of such voxels, or text with a unit: "8um", "0.5 mm".
        spacing: voxel size (z, y, x) in micrometres; needed where the diameter has a unit.

    Raises:
        ValueError: text that is no length, a diameter that is not positive, or a unit without spacing.
    """
    match = re.fullmatch(r"\s*([0-9.eE+-]+)\s*([^\d\s]*)\s*", str(diameter))
    try:
        value = float(match.group(1)) if match else math.nan
    except ValueError:
        value = math.nan
    unit = match.group(2) if match else ""
    if not (math.isfinite(value) and value > 0) or unit not in ("", "px", *_UNITS):
        raise ValueError(
            f"diameter must be a positive number of voxels or a length such as 8um, got {diameter!r}"
        )
    if unit in ("", "px"):
        return value
    if spacing is None:
        raise ValueError(
            f"diameter {diameter!r} has a unit, and the voxel size is unknown: give --spacing Z Y X"
        )
    return value * _UNITS[unit] / min(spacing)


def checked_spacing(spacing: Sequence[float | int]) -> Spacing:
    """Three positive numbers, (z, y, x)."""
    values = tuple(float(value) for value in spacing)
    if len(values) != 3 or not all(math.isfinite(value) and value > 0 for value in values):
        raise ValueError(f"spacing must be three positive numbers (z, y, x), got {tuple(spacing)}")
    return values


@dataclass(frozen=True)
class Scaling:
    """The network's voxels in the input's.

    Attributes:
        source: shape of the input, (z, y, x).
        shape: shape of the resampled volume.
    """

    source: Triple
    shape: Triple

    @classmethod
    def of(
        cls,
        source: Sequence[int],
        spacing: Sequence[float | int],
        diameter: float | int,
        wanted: float | int,
        rays: Rays,
    ) -> "Scaling":
        """The scaling that makes objects of ``diameter`` input voxels ``wanted`` network voxels.

        Args:
            source: shape of the input.
            spacing: its voxel size (z, y, x), of which only the ratios count here.
            diameter: object size in the input, in voxels of the finest axis.
            wanted: object size the network wants, in voxels of its finest axis.
            rays: whose anisotropy is the voxel shape the network was trained on.
        """
        shape = [
            max(1, round(size * step / min(spacing) * min(rays.anisotropy) / own * wanted / diameter))
            for size, step, own in zip(source, spacing, rays.anisotropy, strict=True)
        ]
        return cls(_triple(source), _triple(shape))

    @property
    def ratio(self) -> Spacing:
        """Input voxels per network voxel, (z, y, x)."""
        z, y, x = (a / b for a, b in zip(self.source, self.shape, strict=True))
        return z, y, x

    def points(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points ``[N, 3]`` in input voxels; voxel centres are whole numbers in both."""
        moved: NDArray[np.float32] = ((points + 0.5) * np.array(self.ratio) - 0.5).astype(np.float32)
        return moved

    def rays(self, rays: Rays) -> tuple[Rays, NDArray[np.float32]]:
        """Rays as they point in the input, of length 1, and ``[R]`` what distances along them grow by.

        An anisotropic scaling turns rays, each by its own angle, and stretches them, each by its own factor.
        """
        ratio = torch.tensor(self.ratio, dtype=rays.vertices.dtype, device=rays.vertices.device)
        stretched = rays.vertices * ratio
        growth = stretched.norm(dim=1)
        z, y, x = (own / r for own, r in zip(rays.anisotropy, self.ratio, strict=True))
        turned = Rays(vertices=stretched / growth[:, None], faces=rays.faces, anisotropy=(z, y, x))
        return turned, growth.cpu().numpy().astype(np.float32)

    def box(
        self,
        volume: NDArray[Any],
        start: Triple,
        stop: Triple,
        window: IntensityRange,
        device: torch.device,
        transfer: Transfer | None = None,
    ) -> Tensor:
        """Voxels ``start`` to ``stop`` of the resampled and normalised volume, float32 ``[1, 1, D, H, W]``.

        Linear interpolation; where the volume shrinks, the triangle widens to cover the input voxels that
        merge. Boxes may reach past the end of the resampled volume, which continues there as its mirror
        image. Voxels are copied to ``device`` in the volume's own type, by ``transfer`` (by default the one that suits
        the device), and normalised and interpolated there.
        """
        transfer = transfer or transfer_to(device)
        taps = [_taps(*extent) for extent in zip(start, stop, self.shape, self.source, strict=True)]
        slices = _slices_at_a_time(taps)
        parts = []
        (index, weight), *others = taps
        for first in range(0, len(index), slices):
            some = slice(first, first + slices)
            parts.append(_resampled(volume, [(index[some], weight[some]), *others], window, transfer))
        image = torch.cat(parts) if len(parts) > 1 else parts[0]
        return image[None, None]


def _resampled(volume: NDArray[Any], taps: list[Taps], window: IntensityRange, transfer: Transfer) -> Tensor:
    """The voxels ``[D, H, W]`` that the taps of three axes make of the volume."""
    crop = volume[tuple(slice(int(index.min()), int(index.max()) + 1) for index, _ in taps)]
    fine = crop.dtype.itemsize > 4 or (crop.dtype.kind in "iu" and crop.dtype.itemsize == 4)
    span = window.high - window.low
    if span > 0 and not _FLOAT32_SPAN[0] <= span <= _FLOAT32_SPAN[1]:
        crop, window = (crop.astype(np.float64) - window.low) / span, replace(window, low=0.0, high=1.0)
    elif fine:  # more digits than float32 has: a large offset would leave none for what differs
        crop, window = (
            crop.astype(np.float64) - window.low,
            replace(window, low=0.0, high=window.high - window.low),
        )
    places = [index - index.min() for index, _ in taps]
    along = [
        None if _as_it_is(place, size) else (transfer.upload(place.T), transfer.upload(weight.T))
        for place, (_, weight), size in zip(places, taps, crop.shape, strict=True)
    ]
    return interpolated(window.normalise(transfer.voxels(crop)), along)


def _triple(values: Sequence[int]) -> Triple:
    z, y, x = (int(value) for value in values)
    return z, y, x


def _slices_at_a_time(taps: Sequence[Taps]) -> int:
    """How many z slices of a box to make together."""
    inputs = [int(index.max()) - int(index.min()) + 1 for index, _ in taps]
    return max(1, len(taps[0][0]) * _AT_A_TIME // math.prod(inputs))


def _taps(start: int, stop: int, size: int, source: int) -> Taps:
    """Which input voxels make the resampled ones of an axis, with which weights; both ``[n, k]``."""
    place = _mirrored(np.arange(start, stop), size)
    ratio = source / size
    reach = max(ratio, 1.0)
    centre = (place + 0.5) * ratio - 0.5
    first = np.ceil(centre - reach).astype(np.int64)
    index = first[:, None] + np.arange(math.floor(2 * reach) + 1)
    weight = np.maximum(0.0, 1 - np.abs(index - centre[:, None]) / reach)
    weight[(index < 0) | (index >= source)] = 0
    used = weight.max(axis=0) > 0
    weight /= weight.sum(axis=1, keepdims=True)
    return index.clip(0, source - 1)[:, used], weight[:, used].astype(np.float32)


def _mirrored(place: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Places past the end of an axis reflected into it, about its last voxel and its first."""
    if size == 1:
        return np.zeros_like(place)
    place = place % (2 * size - 2)
    return np.minimum(place, 2 * size - 2 - place)


def _as_it_is(index: NDArray[np.int64], size: int) -> bool:
    """Whether interpolation along an axis would take every voxel once, in order."""
    return index.shape[1] == 1 and len(index) == size and bool((np.diff(index[:, 0]) == 1).all())


def interpolated(image: Tensor, along: Sequence[tuple[Tensor, Tensor] | None]) -> Tensor:
    """Weighted sums of slices ``[D, H, W]`` along each axis; sum by sum in one order, so that boxes agree bit for bit.

    Args:
        image: normalised voxels.
        along: for each axis the ``[k, n]`` slices that make the n new ones, and their weights; None leaves the axis
            as it is. On the device of the image: nothing is copied from the host here.
    """
    for axis, taps in enumerate(along):
        if taps is None:
            continue
        view = [1, 1, 1]
        view[axis] = -1
        result: Tensor | None = None
        for index, weight in zip(*taps, strict=True):
            part = image.index_select(axis, index).mul_(weight.view(view))
            result = part if result is None else result.add_(part)
        assert result is not None
        image = result
    return image
