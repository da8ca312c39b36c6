"""A microscope from the specimen to the stored volume: optics, camera, and recorded voxels."""

from dataclasses import dataclass

import torch

from anystar_torch.arrays import PerSampleAxis, Volume
from anystar_torch.generator.chain import IntensityEffect, with_chance
from anystar_torch.generator.effects.blur import gaussian_blur, taps_of
from anystar_torch.generator.parameters import Range, check_chance, check_effect, check_range, draw
from anystar_torch.kernels.filters import thick_slices
from anystar_torch.random.source import Source


@dataclass(frozen=True, kw_only=True)
class RandomMicroscope:
    """Blur, then photon noise, then voxels that are coarser than those of the sample, all coarsest along one axis.

    AnyStar has no such effect. The noise lies on the voxels that the instrument records. A coarse voxel gathers the
    photons of all voxels that it covers, and interpolation between coarse voxels makes neighbours share noise.

    Attributes:
        p: chance to apply.
        lateral: range of the standard deviation of the blur across the axis, voxels.
        elongation: range of the width of the blur along the axis over the width across it.
        camera: records the blurred image, with its own chance. An attribute ``blurs`` that is False says that it does
            not blur; other cameras are refused, because :meth:`blur_width` would not count their blur.
        pixel: range of the size of the recorded voxels across the axis, voxels, at least 1.
        thickness: range of the length of the recorded voxels along the axis over their size across it.
    """

    p: float
    lateral: Range
    elongation: Range
    camera: IntensityEffect
    pixel: Range
    thickness: Range

    def __post_init__(self) -> None:
        check_chance("p", self.p)
        check_range("lateral", self.lateral, 0.0, 8.0)
        check_range("elongation", self.elongation, 1.0, 8.0)
        check_range("pixel", self.pixel, 1.0, 8.0)
        check_range("thickness", self.thickness, 1.0, 8.0)
        check_effect("camera", self.camera)
        if getattr(self.camera, "blurs", True):
            raise ValueError(
                f"camera must not blur: {type(self.camera).__name__} has no attribute blurs=False; the blur of a "
                "microscope is in lateral and elongation"
            )

    def __call__(self, image: Volume, source: Source) -> Volume:
        """Draw a microscope per sample and record ``image`` ``[B, 1, D, H, W]`` with it."""
        return with_chance(self.p, self._always, image, source)

    def blur_width(self, source: Source) -> PerSampleAxis:
        """Standard deviation of the blur, ``[B, 3]`` along z, y, x, voxels.

        It combines the optics, the means over coarse voxels and the linear interpolation between them. The latter two
        have variances of 1/12 and 1/6 of the squared size of a voxel.

        Args:
            source: draws of the effect, as in its call.
        """
        sigma, voxel = self._drawn(source)
        coarse = torch.where(voxel > 1.0, voxel.square() / 4.0, 0.0)
        applied = source.coin("applied", self.p)[:, None]
        return torch.where(applied, (sigma.square() + coarse).sqrt(), 0.0)

    def _always(self, image: Volume, source: Source) -> Volume:
        sigma, voxel = self._drawn(source)
        blurred = gaussian_blur(image, sigma, taps=taps_of(self.lateral[1] * self.elongation[1]))
        recorded = self.camera(blurred, source("camera"))
        return thick_slices(recorded, voxel, source.uniform("start", -0.5, 0.5, 3))

    def _drawn(self, source: Source) -> tuple[PerSampleAxis, PerSampleAxis]:
        """Standard deviations of the optics and sizes of the recorded voxels, ``[B, 3]`` each, voxels."""
        axis = source.integers("axis", 0, 3)[:, None] == torch.arange(3, device=source.root.device)
        elongation = torch.where(axis, draw(source, "elongation", self.elongation)[:, None], 1.0)
        thickness = torch.where(axis, draw(source, "thickness", self.thickness)[:, None], 1.0)
        sigma = draw(source, "lateral", self.lateral)[:, None] * elongation
        return sigma, draw(source, "pixel", self.pixel)[:, None] * thickness
