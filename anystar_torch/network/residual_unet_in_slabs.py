"""The residual U-Net in a box of the volume, without gradients: slab by slab, and without what the box does not need.

The network itself is :class:`~anystar_torch.network.residual_unet.ResidualUNet`, whose file exporters write as it is.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anystar_torch.network.residual_unet import PreservingBlock, ResidualUNet
from anystar_torch.network.slabs import Box, convolved, cropped, grown, planes, slabs


def within(unet: ResidualUNet, image: Tensor, box: Box) -> Tensor:
    """The output in a box, in less memory and time than that of the whole image. Values agree up to rounding.

    Decoders compute what the box needs. Layers with many grid points are computed slab by slab.

    Args:
        unet: the network.
        image: ``[B, channels, D, H, W]``.
        box: of the grid.
    """
    if not unet.down:
        return cropped(unet(image), box)
    boxes = _boxes(unet, image, box)
    x, skip = _first_level(unet, image, boxes[0])
    skips = [skip]
    for down, encoder, part in zip([None, *unet.down[1:]], unet.encoders, boxes[1:], strict=True):
        if down is not None:
            x = F.relu(down(x), inplace=True)
        x = _in_slabs(encoder, x)
        skips.append(_compact(cropped(x, part)))
    x, origin = skips.pop(), boxes.pop()[0]
    for up, decoder in zip(unet.up, unet.decoders, strict=True):
        part, skip = boxes.pop(), skips.pop()
        coarse = cropped(x, _halved(part), origin)
        for first, stop in slabs(skip.shape[2:], multiple=2):
            skip[:, :, first:stop].add_(up(coarse[:, :, first // 2 : stop // 2])).relu_()
        x, origin = _in_slabs(decoder, skip), part[0]
    return cropped(x, box, origin)


def _boxes(unet: ResidualUNet, image: Tensor, box: Box) -> list[Box]:
    """For each level, the box that its decoder computes; of the last level, what the others need."""
    blocks = len(list(unet.decoders[-1].children()))
    z, y, x = (2 * blocks * (size // 2) for size in unet.kernel)
    size = image.shape[2] // unet.grid[0], image.shape[3] // unet.grid[1], image.shape[4] // unet.grid[2]
    boxes = [grown(box, (z, y, x), (2, 2, 2), size)]
    for level in range(1, len(unet.down) + 1):
        size = size[0] // 2, size[1] // 2, size[2] // 2
        last = level == len(unet.down)
        margin = (0, 0, 0) if last else (z, y, x)
        boxes.append(grown(_halved(boxes[-1]), margin, (1, 1, 1) if last else (2, 2, 2), size))
    return boxes


def _first_level(unet: ResidualUNet, image: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """The whole input of the second level's encoder, and a box of the first level."""
    space, stem, normalisation, _ = unet.stem
    assert isinstance(stem, nn.Conv3d)
    step, margin = unet.grid[0], stem.kernel_size[0] // 2
    sides = stem.kernel_size[1] // 2, stem.kernel_size[2] // 2
    (z, y, x), (d, h, w) = box
    size = [n // g for n, g in zip(image.shape[2:], unet.grid, strict=True)]
    coarse, skip = [], []
    for first, stop in slabs(size, multiple=2):
        seen = space(planes(image, (first - margin) * step, (stop + margin) * step))
        slab = F.conv3d(seen, stem.weight, stem.bias, 1, (0, *sides))
        slab = F.relu(normalisation(slab), inplace=True)
        low, high = max(first, z), min(stop, d)
        if low < high:
            skip.append(_compact(cropped(slab, ((low, y, x), (high, h, w)), (first, 0, 0))).clone())
        coarse.append(F.relu(unet.down[0](slab), inplace=True))
    return torch.cat(coarse, 2), torch.cat(skip, 2)


def _in_slabs(blocks: nn.Module, x: Tensor) -> Tensor:
    """Residual blocks, slab by slab and in the memory of ``x``."""
    for block in blocks.children():
        assert isinstance(block, PreservingBlock)
        hidden, size = torch.empty_like(x), x.shape[2:]
        for first, stop in slabs(size):
            hidden[:, :, first:stop] = F.relu(_normalised_planes(block.first, x, first, stop), inplace=True)
        for first, stop in slabs(size):
            x[:, :, first:stop].add_(_normalised_planes(block.second, hidden, first, stop)).relu_()
    return x


def _normalised_planes(layer: nn.Sequential, x: Tensor, first: int, stop: int) -> Tensor:
    """Planes ``first`` to ``stop`` of a convolution with batch normalisation."""
    convolution, normalisation = layer
    assert isinstance(convolution, nn.Conv3d)
    result: Tensor = normalisation(convolved(convolution, x, first, stop))
    return result


def _compact(x: Tensor) -> Tensor:
    """A volume without gaps in memory, channels last."""
    return x.contiguous(memory_format=torch.channels_last_3d)


def _halved(box: Box) -> Box:
    """A box with even corners on the next level."""
    (z, y, x), (d, h, w) = box
    return (z // 2, y // 2, x // 2), (d // 2, h // 2, w // 2)
