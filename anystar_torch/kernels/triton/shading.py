"""Mask of emitting voxels, and intensities, on a GPU (see ``csrc/shading.hpp``)."""

import torch
import triton
import triton.language as tl
from torch import Tensor, empty, empty_like

from anystar_torch.kernels.triton.lanes import lanes, voxels_of_program
from anystar_torch.kernels.triton.lattice import mixed
from anystar_torch.kernels.triton.launch import Specialisation, elements, on_device_of, programs

BLOCK = lanes(512, 1 << 15)


@triton.jit
def _slope(depth, index, place, size, stride, inside):
    """Derivative along an axis: central differences inside, one-sided ones at the faces."""
    low = place > 0
    high = place < size - 1
    after = tl.load(depth + tl.where(high, index + stride, index), mask=inside, other=0.0)
    before = tl.load(depth + tl.where(low, index - stride, index), mask=inside, other=0.0)
    return (after - before) * tl.where(low & high, 0.5, 1.0)


@triton.jit
def _emitting(depth, reach, offsets, out, sizes_z, sizes_y, sizes_x, most, BLOCK: tl.constexpr):
    count = sizes_z * sizes_y * sizes_x
    row, index, inside, place = voxels_of_program(count, BLOCK)
    own = depth + row * count
    plane = sizes_y * sizes_x
    z = _slope(own, index, index // plane, sizes_z, plane, inside) * tl.load(offsets + row * 3)
    y = _slope(own, index, index // sizes_x % sizes_y, sizes_y, sizes_x, inside) * tl.load(
        offsets + row * 3 + 1
    )
    x = _slope(own, index, index % sizes_x, sizes_x, 1, inside) * tl.load(offsets + row * 3 + 2)
    limit = tl.load(reach + place, mask=inside, other=0.0) * most
    dark = tl.minimum(tl.sqrt_rn(z * z + y * y + x * x), limit)
    emits = tl.load(own + index, mask=inside, other=0.0) > dark
    tl.store(out + place, emits.to(tl.uint8), mask=inside)


@triton.jit
def _intensities(
    objects,
    unit,
    deviation,
    displaced,
    texture,
    noise,
    patch,
    means,
    deviations,
    shading,
    mean_out,
    grain_out,
    count,
    patches,
    BLOCK: tl.constexpr,
):
    row, _, inside, index = voxels_of_program(count, BLOCK)
    own = shading + row * 5
    textured = tl.load(texture + index, mask=inside, other=0.0)
    chosen = tl.load(patch + index, mask=inside, other=0)
    chosen = row * patches + tl.minimum(tl.maximum(chosen, 0), patches - 1)
    left = tl.where(tl.load(displaced + index, mask=inside, other=0) != 0, tl.load(own + 4), 1.0)
    is_object = tl.load(objects + index, mask=inside, other=0) > 0
    level = tl.load(own) + tl.load(own + 1) * tl.load(unit + index, mask=inside, other=0.0)
    level = tl.where(is_object, level, tl.load(means + chosen) * left)
    spread = tl.load(deviation + index, mask=inside, other=0.0)
    spread = tl.where(is_object, spread, tl.load(deviations + chosen) * left)
    factor = tl.where(is_object, textured, mixed(tl.load(own + 3), textured, tl.load(own + 2)))
    tl.store(mean_out + index, level * factor, mask=inside)
    grain = spread * factor * tl.load(noise + index, mask=inside, other=0.0)
    tl.store(grain_out + index, grain, mask=inside)


def emitting(depth: Tensor, reach: Tensor, offset: Tensor, most: float) -> Tensor:
    """Mask of emitting voxels; see :mod:`anystar_torch.kernels.shading`. Arguments are contiguous.

    Args:
        depth: ``[B, 1, D, H, W]``, distance of each voxel below the surface of its object, voxels of the scene.
        reach: ``[B, 1, D, H, W]``, distance of that surface from the centre, voxels of the scene.
        offset: ``[B, 3]`` along z, y, x, voxels of the sample; 0 for no erosion.
        most: largest share of ``reach`` that is eroded.
    """
    out = empty(depth.shape, dtype=torch.bool, device=depth.device)
    with on_device_of(depth):
        _emitting[programs(len(depth), elements(depth), BLOCK)](
            depth,
            reach,
            offset,
            out.view(torch.uint8),
            *depth.shape[2:],
            most,
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return out


def intensities(
    objects: Tensor,
    unit: Tensor,
    deviation: Tensor,
    displaced: Tensor,
    texture: Tensor,
    noise: Tensor,
    patch: Tensor,
    means: Tensor,
    deviations: Tensor,
    shading: Tensor,
) -> tuple[Tensor, Tensor]:
    """Mean intensity of every voxel, and deviation times noise; see :mod:`anystar_torch.kernels.shading`.

    Arguments are contiguous; ``displaced`` is bool, ``objects`` and ``patch`` are int32.

    Args:
        objects: ``[B, 1, D, H, W]``; above 0 in objects, 0 in the background.
        unit: ``[B, 1, D, H, W]``, place of the mean of the object in the range of means, 0 to 1.
        deviation: ``[B, 1, D, H, W]``, standard deviation of the noise in the object.
        displaced: ``[B, 1, D, H, W]``, True where an object displaces the background.
        texture: ``[B, 1, D, H, W]``, about 0 to 1.
        noise: ``[B, 1, D, H, W]``, white noise of standard deviation 1.
        patch: ``[B, D, H, W]``, index of the patch of the background.
        means: ``[B, P]``, mean intensity of each patch, before the texture.
        deviations: ``[B, P]``, standard deviation of the noise in each patch, before the texture.
        shading: ``[B, 5]``, the columns of :func:`anystar_torch.kernels.shading.intensities`.
    """
    mean, grain = empty_like(texture), empty_like(texture)
    count = elements(texture)
    with on_device_of(texture):
        _intensities[programs(len(texture), count, BLOCK)](
            objects,
            unit,
            deviation,
            displaced.view(torch.uint8),
            texture,
            noise,
            patch,
            means,
            deviations,
            shading,
            mean,
            grain,
            count,
            means.shape[1],
            BLOCK=BLOCK,
            enable_fp_fusion=False,
        )
    return mean, grain


_EMITTING = {"depth": "*fp32", "reach": "*fp32", "offsets": "*fp32", "out": "*u8", "most": "fp32"}
_EMITTING |= {"sizes_z": "i32", "sizes_y": "i32", "sizes_x": "i32"}
_FIELDS = "unit deviation texture noise means deviations shading mean_out grain_out"
_INTENSITIES = {name: "*fp32" for name in _FIELDS.split()}
_INTENSITIES |= {"objects": "*i32", "patch": "*i32", "displaced": "*u8", "count": "i32", "patches": "i32"}
SPECIALISATIONS = {
    "shading.emitting": Specialisation(_emitting, _EMITTING, {"BLOCK": BLOCK}),
    "shading.intensities": Specialisation(_intensities, _INTENSITIES, {"BLOCK": BLOCK}),
}
