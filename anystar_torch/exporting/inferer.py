"""The prediction of this package as an inferer of MONAI, with MONAI's order of axes."""

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
    """Segments images as MONAI reads them, with tiles, suppression and rendering of :class:`AnyStar`.

    Args:
        settings: entries of a :class:`anystar_torch.network.weights.ModelConfig`, of this version or an earlier one.
        diameter: of the median object, in voxels of the finest axis; None to estimate it.
        progress: whether to draw progress bars.
        coarse_pass: as for :class:`AnyStar`.
    """

    def __init__(
        self,
        settings: dict[str, Any],
        diameter: float | int | None = None,
        progress: bool = True,
        coarse_pass: bool | None = None,
    ) -> None:
        super().__init__()
        self.config = ModelConfig.from_dict(settings)
        self.diameter, self.progress, self.coarse_pass = diameter, progress, coarse_pass

    def __call__(self, inputs: Tensor, network: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Segment a batch of images.

        Args:
            inputs: ``[B, 1, X, Y, Z]``; voxel sizes are taken from the affine of a ``MetaTensor``.
            network: a :class:`StarDist`.
            args: ignored.
            kwargs: ignored.

        Returns:
            Labels int32 ``[B, 1, X, Y, Z]`` on the device of ``inputs`` and with its metadata.

        Raises:
            TypeError: the network is of another class.
            ValueError: the images have another shape.
        """
        if not isinstance(network, StarDist):
            raise TypeError(f"network must be a StarDist of this package, got {type(network).__name__}")
        if inputs.ndim != 5 or inputs.shape[1] != 1:
            raise ValueError(f"images must be [B, 1, X, Y, Z], got {list(inputs.shape)}; choose one channel")
        model = AnyStar(network, self.config, coarse_pass=self.coarse_pass)
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
    """The NIfTI files of a folder as MONAI's list of data, ``[{"image": path}, ...]``.

    Args:
        folder: that is searched.

    Raises:
        ValueError: the folder holds no NIfTI file.
    """
    files = Path(folder).iterdir() if Path(folder).is_dir() else ()
    found = sorted(str(path) for path in files if path.name.lower().endswith(ENDINGS))
    if not found:
        raise ValueError(
            f"{folder} holds no volume ({', '.join(ENDINGS)}); set dataset_dir to a folder of volumes"
        )
    return [{"image": path} for path in found]
