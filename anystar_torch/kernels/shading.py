"""Kernels from objects to intensities: the mask of emitting voxels, and the mean and noise of every voxel.

C++: ``csrc/shading.hpp``. Triton: ``triton/shading.py``. The functions ``torch_*`` are the references.
C++ and Triton agree to 1e-6 and the references to 1e-5; masks differ only where a voxel lies within rounding of a
border.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float32, Int32
from torch import Tensor

from anystar_torch.arrays import Labels, Mask, PerSampleAxis, Volume, per_voxel
from anystar_torch.kernels.implementations import implementation


def emitting(
    depth: Volume, reach: Volume, offset: PerSampleAxis, largest_share: float
) -> Bool[Tensor, "b 1 d h w"]:
    """Mask of emitting voxels: each object eroded by ``offset``.

    A voxel emits if ``depth`` exceeds ``|offset * grad depth|``, the offset along the normal of the surface, in the
    units of ``depth``.

    Args:
        depth: ``[B, 1, D, H, W]``, distance of each voxel below the surface of its object along the ray from its
            centre, voxels of the scene.
        reach: ``[B, 1, D, H, W]``, distance of that surface from the centre, voxels of the scene.
        offset: ``[B, 3]`` along z, y, x, voxels of the sample; 0 for no erosion.
        largest_share: largest share of ``reach`` that is eroded.
    """
    run = torch_emitting if implementation(depth.device) == "torch" else _emitting
    emits: Tensor = run(depth, reach, offset, largest_share)
    return emits


@torch.library.custom_op("anystar::emitting", mutates_args=())
def _emitting(depth: Tensor, reach: Tensor, offset: Tensor, largest_share: float) -> Tensor:
    depth, reach, offset = depth.contiguous(), reach.contiguous(), offset.contiguous()
    if implementation(depth.device) == "triton":
        from anystar_torch.kernels.triton import shading

        return shading.emitting(depth, reach, offset, largest_share)
    from anystar_torch.kernels import _native

    out = torch.empty(depth.shape, dtype=torch.uint8)
    fields = (depth[:, 0].numpy(), reach[:, 0].numpy(), offset.numpy())
    _native.emitting(*fields, largest_share, out[:, 0].numpy(), torch.get_num_threads())
    return out.to(torch.bool)


@_emitting.register_fake
def _(depth: Tensor, reach: Tensor, offset: Tensor, largest_share: float) -> Tensor:
    return depth.new_empty(depth.shape, dtype=torch.bool)


def torch_emitting(
    depth: Volume, reach: Volume, offset: PerSampleAxis, largest_share: float
) -> Bool[Tensor, "b 1 d h w"]:
    """The reference of :func:`emitting`.

    Arguments are those of :func:`emitting`.
    """
    total = torch.zeros_like(depth)
    for axis in range(3):
        if depth.shape[axis + 2] > 1:
            (slope,) = torch.gradient(depth, dim=axis + 2)
            total.add_((slope * offset[:, axis, None, None, None, None]).square_())
    return depth > torch.minimum(total.sqrt_(), largest_share * reach)


@dataclass(frozen=True)
class VoxelFields:
    """What decides on the intensity of a voxel; ``[B, 1, D, H, W]`` each.

    Attributes:
        objects: any number above 0 that names the voxel's object; 0 for the background.
        unit: place of the mean of the voxel's object in its sample's range of means, 0 to 1.
        std: standard deviation of the noise in the voxel's object.
        displaced: True where an object displaces the background.
        texture: about 0 to 1.
        noise: white noise of standard deviation 1.
    """

    objects: Labels
    unit: Volume
    std: Volume
    displaced: Mask
    texture: Volume
    noise: Volume


def intensities(
    fields: VoxelFields,
    patch: Int32[Tensor, "b d h w"],
    means: Float32[Tensor, "b most"],
    stds: Float32[Tensor, "b most"],
    shading: Float32[Tensor, "b 5"],
) -> tuple[Volume, Volume]:
    """Mean intensity of every voxel, and what noise adds to it, ``[B, 1, D, H, W]`` each.

    Args:
        fields: of every voxel.
        patch: ``[B, D, H, W]``, index of the patch of the background that each voxel belongs to.
        means: ``[B, P]``, mean intensity of each patch, before the texture.
        stds: ``[B, P]``, standard deviation of the noise in each patch, before the texture.
        shading: ``[B, 5]``. The columns 0 and 1 are start and width of the means of objects. Column 2 is the share of
            the texture that the background shows, and column 3 its level without texture. Column 4 is the share of the
            intensity of a displaced background that remains.
    """
    if implementation(shading.device) == "torch":
        return torch_intensities(fields, patch, means, stds, shading)
    voxels = (fields.objects, fields.unit, fields.std, fields.displaced, fields.texture, fields.noise)
    mean, noise = _intensities(list(voxels), patch, [means, stds, shading])
    return mean, noise


@torch.library.custom_op("anystar::intensities", mutates_args=())
def _intensities(fields: list[Tensor], patch: Tensor, tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    fields = [field.contiguous() for field in (*fields, patch)]
    tables = [table.contiguous() for table in tables]
    if implementation(patch.device) == "triton":
        from anystar_torch.kernels.triton import shading

        return shading.intensities(*fields, *tables)
    from anystar_torch.kernels import _native

    mean, noise = (torch.empty(fields[1].shape, dtype=torch.float32) for _ in range(2))
    fields[3] = fields[3].view(torch.uint8)
    tensors = (*fields, *tables, mean, noise)
    arguments: list[Any] = [tensor.flatten(1).numpy() for tensor in tensors]
    arguments.append(torch.get_num_threads())
    _native.intensities(*arguments)
    return mean, noise


@_intensities.register_fake
def _(fields: list[Tensor], patch: Tensor, tables: list[Tensor]) -> tuple[Tensor, Tensor]:
    return fields[1].new_empty(fields[1].shape), fields[1].new_empty(fields[1].shape)


def torch_intensities(
    fields: VoxelFields,
    patch: Int32[Tensor, "b d h w"],
    means: Float32[Tensor, "b most"],
    stds: Float32[Tensor, "b most"],
    shading: Float32[Tensor, "b 5"],
) -> tuple[Volume, Volume]:
    """The reference of :func:`intensities`.

    Arguments are those of :func:`intensities`.
    """
    start, width, share, level, displaced = (per_voxel(column) for column in shading.unbind(1))
    inside = fields.objects > 0
    factor = torch.where(inside, fields.texture, torch.lerp(level, fields.texture, share))
    left = torch.where(fields.displaced, displaced, 1.0)
    index = patch.flatten(1).to(torch.int64)
    mean, std = (table.gather(1, index).view_as(fields.unit) * left for table in (means, stds))
    mean = torch.where(inside, start + width * fields.unit, mean)
    std = torch.where(inside, fields.std, std)
    return mean * factor, std * factor * fields.noise
