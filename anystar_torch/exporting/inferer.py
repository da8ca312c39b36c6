"""What a MONAI bundle runs: AnyStar's whole prediction behind MONAI's interface, axes and spacing minded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.inferers.inferer import Inferer
from torch import Tensor

from anystar_torch.inference.predictor import AnyStar
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

ENDINGS = (".nii", ".nii.gz")


class InstanceInferer(Inferer):
    """Images ``[B, 1, X, Y, Z]``, as MONAI reads them, to labels of the same shape: tiles, suppression, rendering.

    Args:
        settings: the entries of a :class:`anystar_torch.network.weights.ModelConfig`.
        diameter: of the median object, in voxels of the finest axis; None to estimate it.
        progress: whether to draw progress bars.
        multiscale: as for :class:`AnyStar`.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        diameter: float | int | None = None,
        progress: bool = True,
        multiscale: bool | None = None,
    ) -> None:
        super().__init__()
        self.config = ModelConfig(**{**settings, "diameter_band": tuple(settings["diameter_band"])})
        self.diameter, self.progress, self.multiscale = diameter, progress, multiscale

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Labels int32 ``[B, 1, X, Y, Z]``, on the device of ``inputs``, with its metadata."""
        if not isinstance(network, StarDist):
            raise TypeError(f"network must be a StarDist of this package, got {type(network).__name__}")
        model = AnyStar(network, self.config, multiscale=self.multiscale)
        labels = torch.zeros_like(inputs, dtype=torch.int32)
        for image, target in zip(inputs, labels, strict=True):
            x, y, z = (
                affine_to_spacing(image.affine).tolist() if isinstance(image, MetaTensor) else (1.0, 1.0, 1.0)
            )
            found = model.predict(
                torch.as_tensor(image)[0].permute(2, 1, 0).contiguous(),
                spacing=(z, y, x),
                diameter=self.diameter,
                device=str(inputs.device),
                progress=self.progress,
            )
            target[0] = torch.from_numpy(found.labels).permute(2, 1, 0).to(inputs.device)
        return labels


def volumes(folder: Path | str) -> list[dict[str, str]]:
    """The volumes of a folder as MONAI's list of data: ``[{"image": path}, ...]``.

    Raises:
        ValueError: there are none.
    """
    files = Path(folder).iterdir() if Path(folder).is_dir() else ()
    found = sorted(str(path) for path in files if path.name.lower().endswith(ENDINGS))
    if not found:
        raise ValueError(f"{folder} holds no volume ({', '.join(ENDINGS)}); give --dataset_dir FOLDER")
    return [{"image": path} for path in found]
