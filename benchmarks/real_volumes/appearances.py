"""Changes of the appearance of a real volume: contrast, noise, blur, background."""

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from benchmarks.real_volumes.volumes import Image, Volume

Appearance = Callable[[Volume], Image]


def _unit(volume: Volume) -> Image:
    low, high = np.quantile(volume.image, [0.001, 0.999])
    return np.clip((volume.image - low) / (high - low), 0, 1)


def _contrast(volume: Volume, image: Image) -> float:
    inside = volume.truth > 0
    return float(np.median(image[inside]) - np.median(image[~inside]))


def _gamma(exponent: float) -> Appearance:
    return lambda volume: _unit(volume) ** np.float32(exponent)


def _bias(volume: Volume) -> Image:
    """A bias field that falls from 1 to a fifth from one corner to the opposite one."""
    axes = [np.linspace(0, 1, n, dtype=np.float32) for n in volume.image.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    field = np.exp(np.log(0.2) * (0.4 * z + 0.3 * y**2 + 0.3 * x))
    return _unit(volume) * field.astype(np.float32)


def _noise(volume: Volume) -> Image:
    image = _unit(volume)
    std = 0.5 * abs(_contrast(volume, image))
    return image + np.random.default_rng(0).normal(0, std, image.shape).astype(np.float32)


def _smooth(shape: tuple[int, ...], size: float, seed: int) -> Image:
    """A smooth random field of standard deviation 1, ``size`` voxels wide."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), size)
    return (field / field.std()).astype(np.float32)


def _around(volume: Volume) -> Image:
    """1 where no object is, 0 in objects, with an edge of one voxel's blur."""
    outside: Image = 1 - ndimage.gaussian_filter((volume.truth > 0).astype(np.float32), 1)
    return outside


def _bright_background(volume: Volume) -> Image:
    """A patchy background, brighter by twice the objects' contrast; zero inside of objects."""
    image = _unit(volume)
    contrast = _contrast(volume, image)
    rng = np.random.default_rng(0)
    texture = (
        ndimage.gaussian_filter(rng.normal(size=image.shape), 6)
        + ndimage.gaussian_filter(rng.normal(size=image.shape), 2) * 0.15
    )
    texture = texture / texture.std()
    return (image + _around(volume) * contrast * (2 + 0.3 * texture)).astype(np.float32)


def _rough_background(volume: Volume) -> Image:
    """A background with wider and higher maxima; zero inside of objects."""
    image = _unit(volume)
    field = _smooth(image.shape, 15, 1)
    return image + _around(volume) * _contrast(volume, image) * (1.5 + 0.5 * field)


def _complement(volume: Volume) -> Image:
    """A background that is darker where the image is brighter; the ground truth does not limit it."""
    image = _unit(volume)
    contrast = _contrast(volume, image)
    dark = np.median(image[volume.truth == 0])
    light = np.clip((ndimage.gaussian_filter(image, 1) - dark) / contrast, 0, 1)
    return image + (1 - light) * contrast * (2 + 0.3 * _smooth(image.shape, 6, 1))


def _layer(size: float) -> Appearance:
    """Light of another layer, over objects and background alike."""

    def layered(volume: Volume) -> Image:
        image = _unit(volume)
        return image + _contrast(volume, image) * (2 + 0.3 * _smooth(image.shape, size, 1))

    return layered


APPEARANCES: dict[str, Appearance] = {
    "untouched": lambda volume: volume.image,
    "inverted": lambda volume: volume.image.max() - volume.image,
    "gamma 0.5": _gamma(0.5),
    "gamma 2": _gamma(2.0),
    "strong bias field": _bias,
    "noise of half the contrast": _noise,
    "blur of sigma 1": lambda volume: ndimage.gaussian_filter(volume.image, 1),
    "bright textured background": _bright_background,
    "8 bits": lambda volume: np.round(255 * _unit(volume)),
}
"""Changes of grey values that AnyStar claims not to matter; objects stay where they are."""

BACKGROUNDS: dict[str, Appearance] = {
    "rough background": _rough_background,
    "complement of the image": _complement,
    "fine layer": _layer(6),
    "coarse layer": _layer(15),
}
"""Bright, uneven backgrounds that were not used during development."""
