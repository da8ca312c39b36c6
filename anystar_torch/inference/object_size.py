"""Object sizes: the result of an estimate, and checks of a size before and after a prediction."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64

from anystar_torch.geometry.diameter import equivalent_diameter
from anystar_torch.geometry.rays import Rays
from anystar_torch.inference.input_volume import InputVolume
from anystar_torch.inference.scaling import Scaling
from anystar_torch.inference.warnings import PredictionWarning, SizeWarning
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.wording import number_of

_SHAPELESS = 3.0  # voxels of the finest axis: smaller objects have no visible shape
_MIN_OBJECTS = 5  # the median of fewer objects says little


@dataclass(frozen=True)
class SizeEstimate:
    """An estimated object size and its evidence.

    Attributes:
        diameter: volume-equivalent diameter of the median object, in voxels of the finest axis.
        support: share of the votes that agree with it, 0 to 1.
        objects: number of objects that were measured at this size.
        scales: number of scales at which the network was applied.
    """

    diameter: float
    support: float
    objects: int
    scales: int

    def __str__(self) -> str:
        return (
            f"diameter estimated as {self.diameter:.3g} voxels from {number_of(self.objects, 'object')}; "
            f"{100 * self.support:.0f} % of the objects found at {number_of(self.scales, 'scale')} agree"
        )


@dataclass(frozen=True)
class ObjectSize:
    """The object size with which a volume is predicted.

    Attributes:
        diameter: in voxels of the finest axis.
        estimate: how it was estimated; None if it was given or assumed.
        warnings: reasons to doubt it.
    """

    diameter: float
    estimate: SizeEstimate | None = None
    warnings: tuple[PredictionWarning, ...] = ()


def check_given_size(diameter: float, volume: InputVolume) -> ObjectSize:
    """The size that the user gave, with a warning if it is implausible.

    Args:
        diameter: in voxels of the finest axis.
        volume: the volume.

    Raises:
        ValueError: the diameter is below 1 voxel.
    """
    if diameter < 1:
        raise ValueError(
            f"diameter must be at least 1 voxel of the finest axis, got {diameter:.3g}: check its unit and spacing"
        )
    message = ""
    if diameter > volume.longest_side:
        message = (
            f"objects of {diameter:.3g} voxels are larger than the volume ({volume.longest_side:.3g} voxels)"
        )
    elif diameter < _SHAPELESS:
        message = f"objects of {diameter:.3g} voxels are too small to have a shape"
    warnings = (SizeWarning(message, ("diameter", "spacing")),) if message else ()
    return ObjectSize(diameter, warnings=warnings)


def check_found_size(
    distances: Float32[np.ndarray, "n r"], rays: Rays, scaling: Scaling, diameter: float, config: ModelConfig
) -> SizeWarning | None:
    """A warning if the objects that were found do not have a size that the network was trained on.

    Args:
        distances: distances of the objects along ``rays``, in input voxels.
        rays: rays in the input.
        scaling: grids of the input and of the network.
        diameter: size for which the volume was scaled, in voxels of the input's finest axis.
        config: configuration of the network.
    """
    volumes = rays.volume(torch.from_numpy(distances)).clamp_min(0).numpy().astype(np.float64)
    return check_found_volumes(volumes, scaling, diameter, config)


def check_found_volumes(
    volumes: Float64[np.ndarray, " n"], scaling: Scaling, diameter: float, config: ModelConfig
) -> SizeWarning | None:
    """The warning of :func:`check_found_size`, from the volumes of the objects.

    Args:
        volumes: in input voxels.
        scaling: grids of the input and of the network.
        diameter: size for which the volume was scaled, in voxels of the input's finest axis.
        config: configuration of the network.
    """
    if len(volumes) < _MIN_OBJECTS or not config.sizes_known:
        return None
    median = equivalent_diameter(float(np.median(volumes) / np.prod(scaling.ratio)))
    low, expected, high = config.diameter_band
    if low <= median <= high:
        return None
    scale = diameter / expected
    return SizeWarning(
        f"objects of {diameter:.3g} voxels were expected, and those found measure {median * scale:.3g}, outside of the "
        f"sizes that the network was trained on ({low * scale:.3g} to {high * scale:.3g})",
        ("diameter", "spacing"),
    )
