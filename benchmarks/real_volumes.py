"""The real volumes of ``../shared/data/real``: reading them, changing their appearance, and a classical pipeline."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "real"
FILES = ("image.tif", "labels.tif", "spacing.txt")
EMBRYOS = "bbbc050"
OVULE = "gonuclear"

Image = NDArray[np.float32]
Labels = NDArray[np.int32]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class RealVolume:
    """A volume with its ground truth.

    Attributes:
        name: of its folder.
        image: ``[D, H, W]``, its own grey values.
        truth: ``[D, H, W]``, 0 = background.
        spacing: voxel size (z, y, x), micrometres or relative.
        diameter: volume-equivalent diameter of the median object, voxels of the finest axis.
    """

    name: str
    image: Image
    truth: Labels
    spacing: Triple
    diameter: float

    def resampled(self, factor: float) -> "RealVolume":
        """The same scene in voxels of ``1 / factor`` the size; blurred first where it shrinks."""
        image = self.image
        if factor < 1:
            image = ndimage.gaussian_filter(image, 0.5 / factor - 0.5)
        return RealVolume(
            name=f"{self.name} x{factor:g}",
            image=ndimage.zoom(image, factor, order=1, grid_mode=True, mode="nearest"),
            truth=ndimage.zoom(self.truth, factor, order=0, grid_mode=True, mode="nearest"),
            spacing=tuple(s / factor for s in self.spacing),
            diameter=self.diameter * factor,
        )


def read(folder: Path = DATA) -> list[RealVolume]:
    """All volumes, by name.

    Raises:
        SystemExit: the data are not there.
    """
    if not folder.is_dir():
        raise SystemExit(f"the real volumes are not at {folder}; give --data FOLDER")
    places = sorted(path for path in folder.iterdir() if path.is_dir())
    if not places:
        raise SystemExit(f"{folder} holds no folders with image.tif, labels.tif and spacing.txt")
    missing = [str(place / name) for place in places for name in FILES if not (place / name).is_file()]
    if missing:
        raise SystemExit(f"{folder} is not complete: there is no {', no '.join(missing)}")
    volumes = []
    for place in places:
        voxel, diameter = (place / "spacing.txt").read_text().splitlines()[:2]
        z, y, x = (float(value) for value in voxel.split())
        image = tifffile.imread(place / "image.tif").astype(np.float32)
        truth = tifffile.imread(place / "labels.tif").astype(np.int32)
        volumes.append(RealVolume(place.name, image, truth, (z, y, x), float(diameter)))
    return volumes


def judged(volumes: list[RealVolume]) -> list[RealVolume]:
    """Those whose mean says what a change of appearance costs: embryos and ovule, whose truth people drew; else all."""
    return [volume for volume in volumes if volume.name.startswith((EMBRYOS, OVULE))] or volumes


def classical(image: Image, spacing: Triple, diameter: float) -> Labels:
    """Gaussian, Otsu, distance transform, watershed; given the size of the objects."""
    step = np.array(spacing) / min(spacing)
    smooth = ndimage.gaussian_filter(image, 0.1 * diameter / step)
    inside = smooth > threshold_otsu(smooth)
    depth = ndimage.gaussian_filter(
        ndimage.distance_transform_edt(inside, sampling=step), 0.05 * diameter / step
    )
    reach = np.maximum(1, np.round(0.3 * diameter / step)).astype(int)
    highest = ndimage.maximum_filter(depth, size=2 * reach + 1)
    seeds, _ = ndimage.label((depth == highest) & inside)
    labels: Labels = watershed(-depth, seeds, mask=inside).astype(np.int32)
    sizes = np.bincount(labels.reshape(-1)) * float(np.prod(step))
    small = sizes < 0.1 * np.pi / 6 * diameter**3
    return np.where(small[labels], 0, labels)


def _unit(volume: RealVolume) -> Image:
    low, high = np.quantile(volume.image, [0.001, 0.999])
    return np.clip((volume.image - low) / (high - low), 0, 1)


def _contrast(volume: RealVolume, image: Image) -> float:
    inside = volume.truth > 0
    return float(np.median(image[inside]) - np.median(image[~inside]))


def _gamma(exponent: float) -> "Appearance":
    return lambda volume: _unit(volume) ** np.float32(exponent)


def _bias(volume: RealVolume) -> Image:
    """Falls from 1 to a fifth from one corner to the opposite one, with a bend."""
    axes = [np.linspace(0, 1, n, dtype=np.float32) for n in volume.image.shape]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    field = np.exp(np.log(0.2) * (0.4 * z + 0.3 * y**2 + 0.3 * x))
    return _unit(volume) * field.astype(np.float32)


def _noise(volume: RealVolume) -> Image:
    image = _unit(volume)
    std = 0.5 * abs(_contrast(volume, image))
    return image + np.random.default_rng(0).normal(0, std, image.shape).astype(np.float32)


def _smooth(shape: tuple[int, ...], size: float, seed: int) -> Image:
    """Random hills and dips of deviation 1, ``size`` voxels wide."""
    hills = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), size)
    return (hills / hills.std()).astype(np.float32)


def _around(volume: RealVolume) -> Image:
    """1 where no object is, 0 in objects, with an edge of one voxel's blur."""
    outside: Image = 1 - ndimage.gaussian_filter((volume.truth > 0).astype(np.float32), 1)
    return outside


def _bright_background(volume: RealVolume) -> Image:
    """A patchy ground twice as far above the old one as the objects are, cut out where they are."""
    image = _unit(volume)
    contrast = _contrast(volume, image)
    rng = np.random.default_rng(0)
    texture = (
        ndimage.gaussian_filter(rng.normal(size=image.shape), 6)
        + ndimage.gaussian_filter(rng.normal(size=image.shape), 2) * 0.15
    )
    texture = texture / texture.std()
    return (image + _around(volume) * contrast * (2 + 0.3 * texture)).astype(np.float32)


def _rough_ground(volume: RealVolume) -> Image:
    """Cut out where objects are as well; wider and higher hills."""
    image = _unit(volume)
    hills = _smooth(image.shape, 15, 1)
    return image + _around(volume) * _contrast(volume, image) * (1.5 + 0.5 * hills)


def _complement(volume: RealVolume) -> Image:
    """As much less of the ground as there is light of objects: no truth is asked for where it ends."""
    image = _unit(volume)
    contrast = _contrast(volume, image)
    dark = np.median(image[volume.truth == 0])
    light = np.clip((ndimage.gaussian_filter(image, 1) - dark) / contrast, 0, 1)
    return image + (1 - light) * contrast * (2 + 0.3 * _smooth(image.shape, 6, 1))


def _veil(size: float) -> "Appearance":
    """Light of another layer, over objects and ground alike."""

    def veiled(volume: RealVolume) -> Image:
        image = _unit(volume)
        return image + _contrast(volume, image) * (2 + 0.3 * _smooth(image.shape, size, 1))

    return veiled


Appearance = Callable[[RealVolume], Image]
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
"""What AnyStar claims not to matter; each changes grey values and leaves the objects where they are."""

GROUNDS: dict[str, Appearance] = {
    "rough ground": _rough_ground,
    "complement of the light": _complement,
    "fine veil": _veil(6),
    "coarse veil": _veil(15),
}
"""Other bright, uneven grounds than that of APPEARANCES, for whether what helps there helps here."""
