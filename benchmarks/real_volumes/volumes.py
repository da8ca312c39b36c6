"""The real volumes of ``../shared/data/real`` or of ``--fetch``, and a classical pipeline."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from anystar_torch.training.object_sizes import median_diameter
from benchmarks.header import ROOT

SHARED = ROOT.parent / "shared" / "data" / "real"
FETCHED = ROOT / "outputs" / "real_volumes"
DATA = FETCHED if FETCHED.is_dir() and not SHARED.is_dir() else SHARED
FILES = ("image.tif", "labels.tif", "spacing.txt")
EMBRYOS = "bbbc050"
OVULE = "gonuclear"

Image = NDArray[np.float32]
Labels = NDArray[np.int32]


@dataclass(frozen=True)
class Volume:
    """A volume with its ground truth.

    Attributes:
        name: of its folder.
        image: ``[D, H, W]``, not normalised.
        truth: ``[D, H, W]``, 0 = background.
        spacing: voxel size (z, y, x), micrometres or relative.
        diameter: volume-equivalent diameter of the median object, voxels of the finest axis.
    """

    name: str
    image: Image
    truth: Labels
    spacing: tuple[float, float, float]
    diameter: float

    def resampled(self, factor: float) -> "Volume":
        """The volume in voxels of ``1 / factor`` the size; blurred first where it shrinks."""
        image = self.image
        if factor < 1:
            image = ndimage.gaussian_filter(image, 0.5 / factor - 0.5)
        return Volume(
            name=f"{self.name} x{factor:g}",
            image=ndimage.zoom(image, factor, order=1, grid_mode=True, mode="nearest"),
            truth=ndimage.zoom(self.truth, factor, order=0, grid_mode=True, mode="nearest"),
            spacing=tuple(s / factor for s in self.spacing),
            diameter=self.diameter * factor,
        )

    def middle(self, diameters: float) -> tuple[slice, slice, slice]:
        """The voxels of a cube in the middle of the volume, so many diameters along each side, or all there are."""
        sides = []
        for size, step in zip(self.image.shape, self.spacing, strict=True):
            side = min(max(round(diameters * self.diameter * min(self.spacing) / step), 1), size)
            sides.append(slice((size - side) // 2, (size - side) // 2 + side))
        z, y, x = sides
        return z, y, x

    def slab(self, diameters: float) -> "Volume":
        """The middle slices of the volume, over so many diameters along z; its diameter is that of the labels in it."""
        inside = self.middle(diameters)[0]
        truth = self.truth[inside]
        diameter = median_diameter(truth, self.spacing)
        return replace(
            self,
            name=f"{self.name} slab {diameters:g}",
            image=self.image[inside],
            truth=truth,
            diameter=diameter,
        )


def read(folder: Path = DATA) -> list[Volume]:
    """All volumes, by name.

    Raises:
        SystemExit: the data are not there.
    """
    if not folder.is_dir():
        raise SystemExit(
            f"the real volumes are not at {folder}; give --data FOLDER, or download some with: "
            "python -m benchmarks.real_volumes --fetch"
        )
    places = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
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
        volumes.append(Volume(place.name, image, truth, (z, y, x), float(diameter)))
    return volumes


def judged(volumes: list[Volume]) -> list[Volume]:
    """Embryos and ovule, whose truth people drew: their mean measures a change of appearance. Without them, all."""
    return [volume for volume in volumes if volume.name.startswith((EMBRYOS, OVULE))] or volumes


def classical(image: Image, spacing: tuple[float, float, float], diameter: float) -> Labels:
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
