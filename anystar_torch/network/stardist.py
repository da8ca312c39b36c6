"""The network: a backbone whose output is on the grid, and the heads of StarDist.

The layers are those of StarDist 3D (Config3D), so weights can be imported and exported. Only the backbone
"residual_unet" has no counterpart in StarDist.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from anystar_torch.arrays import Triple
from anystar_torch.geometry.rays import Rays
from anystar_torch.network.residual_unet import ResidualUNet, ResidualUNetBackbone
from anystar_torch.network.residual_unet_in_slabs import within
from anystar_torch.network.resnet import ResNetBackbone
from anystar_torch.network.slabs import Box, convolved, cropped, grown, is_odd, slabs
from anystar_torch.network.unet import UNetBackbone, conv_block, convolution
from anystar_torch.system.wording import number_of

Image = Float32[Tensor, "b c d h w"]
Probability = Float[Tensor, "b 1 gd gh gw"]  # on the grid
Distances = Float[Tensor, "b r gd gh gw"]

Backbone = UNetBackbone | ResNetBackbone | ResidualUNetBackbone
BACKBONES: dict[str, type[Backbone]] = {
    "unet": UNetBackbone,
    "resnet": ResNetBackbone,
    "residual_unet": ResidualUNetBackbone,
}


class Prediction(NamedTuple):
    """Output of the network at every grid point.

    Attributes:
        probability: ``[B, 1, d, h, w]`` in [0, 1]. Its target is the normalised distance transform of the object.
        distances: ``[B, R, d, h, w]`` >= 0, in voxels of the input, one channel per ray.
    """

    probability: Probability
    distances: Distances


class StarDist(nn.Module):
    """StarDist 3D.

    Args:
        rays: number of rays on the golden spiral.
        backbone: type and size of the layers before the heads.
        anisotropy: relative voxel shape for which the rays are distributed, (z, y, x).
        grid: subsampling of the prediction, (z, y, x), powers of two.
        features: channels of the convolution before the heads; 0 for no such convolution.
        channels: channels of the image.
        classes: object classes of the class head that some imported networks have; 0 for no class head.

    Raises:
        ValueError: the grid does not consist of powers of two.
    """

    def __init__(
        self,
        *,
        rays: int,
        backbone: Backbone,
        anisotropy: Sequence[float | int] = (1.0, 1.0, 1.0),
        grid: Sequence[int] = (1, 1, 1),
        features: int = 128,
        channels: int = 1,
        classes: int = 0,
    ) -> None:
        super().__init__()
        if any(g < 1 or g & (g - 1) for g in grid):
            raise ValueError(f"grid must be powers of two per axis (z, y, x), got {tuple(grid)}")
        self.rays = Rays.golden_spiral(rays, (anisotropy[0], anisotropy[1], anisotropy[2]))
        self.grid: Triple = (int(grid[0]), int(grid[1]), int(grid[2]))
        self.divisor: Triple = backbone.divisor(self.grid)
        """Divisor of the input sizes, (z, y, x)."""
        self.channels, self.classes = channels, classes
        self.architecture = _architecture(self, backbone, features)
        """JSON values from which :meth:`from_architecture` builds a network with the same layers."""

        width, one = backbone.outputs(self.grid), (1, 1, 1)
        self.kernel = kernel = backbone.kernel
        self.backbone = backbone.build(channels, self.grid)
        self.features = conv_block(width, features, kernel, False) if features else nn.Identity()
        self.probability = convolution(features or width, 1, one)
        self.distances = convolution(features or width, rays, one)
        if classes:
            self.class_features = conv_block(width, features, kernel, False) if features else nn.Identity()
            self.class_logits = convolution(features or width, classes + 1, one)

    @classmethod
    def from_architecture(cls, architecture: dict[str, Any]) -> "StarDist":
        """Build the network of an :attr:`architecture`, with new initial weights.

        Args:
            architecture: backbone and arguments of the class, as JSON values.

        Raises:
            ValueError: the backbone is unknown.
            TypeError: an entry is missing or unknown.
        """
        arguments = dict(architecture)
        backbone = dict(arguments.pop("backbone", {}))
        kind = backbone.pop("kind", None)
        if kind not in BACKBONES:
            raise ValueError(f"backbone must be one of {sorted(BACKBONES)}, got {kind!r}")
        shapes: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in backbone.items()}
        return cls(backbone=BACKBONES[kind](**shapes), **arguments)

    def logits(self, image: Image) -> tuple[Probability, Distances]:
        """Probability before the sigmoid, and distances before clipping at 0: the inputs of the loss.

        Args:
            image: ``[B, C, D, H, W]``.

        Returns:
            ``[B, 1, d, h, w]`` and ``[B, R, d, h, w]``.

        Raises:
            ValueError: a size is not a multiple of :attr:`divisor`, or the number of channels differs.
        """
        features = self.features(self._on_grid(image))
        return self.probability(features), self.distances(features)

    def forward(self, image: Image) -> Prediction:
        """Probability and distances of ``image`` ``[B, C, D, H, W]``, in float32, also with autocast."""
        probability, distances = self.logits(image)
        return Prediction(torch.sigmoid(probability.float()), distances.float().clamp_min(0.0))

    def within(self, image: Image, box: Box, distances: bool = True) -> Iterator[tuple[int, Prediction]]:
        """The prediction in a box, some planes at a time, without gradients and in less memory than :meth:`forward`.

        Values are those of :meth:`forward` up to rounding.

        Args:
            image: ``[B, C, D, H, W]``.
            box: of the grid.
            distances: whether distances are computed; there are none otherwise.

        Yields:
            The first plane of a part of the box, and the prediction of the part.

        Raises:
            ValueError: as for :meth:`logits`.
        """
        self._check(image)
        (z, y, x), (d, h, w) = box
        if not is_odd(self.kernel):  # it has no centre
            probability, found = (cropped(values, box) for values in self(image))
            yield z, Prediction(probability, found if distances else found[:, :0])
            return
        layer = next((one for one in self.features.children() if isinstance(one, nn.Conv3d)), None)
        dz, dy, dx = (0 if layer is None else size // 2 for size in self.kernel)
        gz, gy, gx = (n // g for n, g in zip(image.shape[2:], self.grid, strict=True))
        wide = grown(box, (dz, dy, dx), (1, 1, 1), (gz, gy, gx))
        on_grid = self._on_box(image, wide)
        for first, stop in slabs((d - z, h - y, w - x)):
            low, high = first + z - wide[0][0], stop + z - wide[0][0]
            part = on_grid[:, :, low:high] if layer is None else convolved(layer, on_grid, low, high).relu_()
            part = cropped(part, ((0, y, x), (high - low, h, w)), (0, *wide[0][1:]))
            part = part.contiguous(memory_format=torch.channels_last_3d)
            probability = torch.sigmoid(self.probability(part).float())
            found = self.distances(part).float().clamp_min_(0.0) if distances else probability[:, :0]
            yield z + first, Prediction(probability, found)

    def _on_box(self, image: Tensor, box: Box) -> Tensor:
        """The output of the backbone in a box."""
        if isinstance(self.backbone, ResidualUNet):
            return within(self.backbone, image, box)
        return cropped(self.backbone(image), box)

    def _on_grid(self, image: Tensor) -> Tensor:
        self._check(image)
        features: Tensor = self.backbone(image)
        return features

    def _check(self, image: Tensor) -> None:
        size = image.shape[2:]
        if image.shape[1] != self.channels:
            raise ValueError(
                f"the network needs images of {number_of(self.channels, 'channel')}, got {image.shape[1]}"
            )
        if any(s % d for s, d in zip(size, self.divisor, strict=True)):
            raise ValueError(
                f"image sizes must be multiples of {self.divisor} (z, y, x), got {tuple(size)}; "
                "pad the volume, or use AnyStar.predict"
            )


def _architecture(network: StarDist, backbone: Backbone, features: int) -> dict[str, Any]:
    shape = {
        name: list(value) if isinstance(value, Sequence) else value
        for name, value in asdict(backbone).items()
    }
    return {
        "rays": len(network.rays.vertices),
        "anisotropy": [float(a) for a in network.rays.anisotropy],
        "grid": list(network.grid),
        "features": features,
        "channels": network.channels,
        "classes": network.classes,
        "backbone": {"kind": backbone.kind, **shape},
    }
