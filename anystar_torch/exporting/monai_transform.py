"""Prediction as a dictionary transform of MONAI."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.data.meta_tensor import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms.transform import MapTransform
from torch import Tensor

from anystar_torch.inference.predictor import AnyStar


class AnyStard(MapTransform):
    """Adds the labels of the objects in an image: ``data["image_labels"]`` for ``data["image"]``.

    A pipeline that begins with a file::

        transform = Compose([LoadImaged("image", ensure_channel_first=True), AnyStard("image", diameter=12)])
        labels = transform({"image": "volume.nii.gz"})["image_labels"]

    Images are ``[1, X, Y, Z]``, as ``LoadImaged`` with ``ensure_channel_first`` gives them. Labels are int32 of the
    same shape, with the affine and the metadata of the image where it is a ``MetaTensor``.

    Args:
        keys: of the images.
        model: the model; None for the shipped weights.
        diameter: of the median object, in voxels of the finest axis; None to estimate it.
        postfix: what is added to a key with an underscore between them; "" replaces the image.
        device: of the network.
        progress: whether to draw progress bars.
        allow_missing_keys: whether an image may be absent.
    """

    def __init__(
        self,
        keys: KeysCollection,
        model: AnyStar | None = None,
        diameter: float | int | None = None,
        postfix: str = "labels",
        device: str = "auto",
        progress: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.model = model or AnyStar.from_pretrained()
        self.diameter, self.postfix, self.device, self.progress = diameter, postfix, device, progress

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The same entries, and labels for every image.

        Args:
            data: images by their keys.

        Raises:
            ValueError: an image is not ``[1, X, Y, Z]``.
        """
        found = dict(data)
        for key in self.key_iterator(found):
            found[f"{key}_{self.postfix}" if self.postfix else key] = self.labels(found[key])
        return found

    def labels(self, image: Any) -> Tensor:
        """Labels int32 ``[1, X, Y, Z]`` of an image, on the CPU.

        Args:
            image: ``[1, X, Y, Z]``; its voxel size is that of its affine, where it is a ``MetaTensor``.

        Raises:
            ValueError: the image has another shape.
        """
        if image.ndim != 4 or image.shape[0] != 1:
            raise ValueError(f"the image must be [1, X, Y, Z], got {list(image.shape)}; add the channel axis")
        placed = isinstance(image, MetaTensor)
        x, y, z = affine_to_spacing(image.affine).tolist() if placed else (1.0, 1.0, 1.0)
        volume = torch.as_tensor(image.as_tensor() if placed else image)[0].permute(2, 1, 0)
        found = self.model.predict(
            volume.cpu().contiguous(),
            spacing=(z, y, x),
            diameter=self.diameter,
            device=self.device,
            progress=self.progress,
        )
        labels = torch.from_numpy(found.labels).permute(2, 1, 0)[None].contiguous()
        return MetaTensor(labels, affine=image.affine, meta=image.meta) if placed else labels
