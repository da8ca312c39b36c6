"""A generator as a TorchIO data set: synthetic subjects by id, for TorchIO's transforms, loaders and queues."""

from collections.abc import Callable, Iterator, Sequence

import torch
import torchio

from anystar_torch.arrays import three_positive
from anystar_torch.generator.synthesizer import Synthesizer

IMAGE, LABELS, ID = "image", "labels", "id"
"""Names of the parts of a subject."""


class SyntheticSubjects(torchio.SubjectsDataset):  # type: ignore[misc]
    """Subjects that are synthesised when they are asked for. Subject ``ids[i]`` is the same one every time.

    Each subject has the entries "image" (a ``ScalarImage``, float32 in [0, 1]), "labels" (a ``LabelMap``, int32) and
    "id". Arrays are ``[1, W, H, D]``, as TorchIO orders axes: x first.

    Args:
        synthesizer: makes the samples.
        ids: of the samples, 0 .. 2^62.
        spacing: voxel size (z, y, x) in millimetres that the subjects are given.
        transform: of TorchIO, applied to each subject.
        device: where samples are made; subjects are on the CPU.

    Raises:
        ValueError: there are no ids.

    Examples:
        >>> import torchio
        >>> from anystar_torch import load_synthesizer
        >>> subjects = SyntheticSubjects(load_synthesizer("mix", shape=(32, 32, 32)), range(1000))
        >>> batch = next(iter(torchio.SubjectsLoader(subjects, batch_size=2)))
        >>> batch["image"]["data"].shape
        torch.Size([2, 1, 32, 32, 32])
    """

    def __init__(
        self,
        synthesizer: Synthesizer,
        ids: Sequence[int],
        spacing: Sequence[float | int] = (1.0, 1.0, 1.0),
        transform: Callable[[torchio.Subject], torchio.Subject] | None = None,
        device: str = "cpu",
    ) -> None:
        if not len(ids):
            raise ValueError("ids must name at least one sample, got none")
        z, y, x = three_positive("spacing", spacing)
        self.synthesizer, self.ids, self.device = synthesizer, ids, device
        self.affine = torch.diag(torch.tensor([x, y, z, 1.0], dtype=torch.float64))
        self.set_transform(transform)
        self.load_getitem = True

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> torchio.Subject:
        subject = self._subject(int(self.ids[int(index)]))
        return subject if self._transform is None else self._transform(subject)

    def __iter__(self) -> Iterator[torchio.Subject]:
        return (self[index] for index in range(len(self)))

    def dry_iter(self) -> list[torchio.Subject]:
        """The subjects without the transform. They are synthesised here, because no file holds them."""
        return [self._subject(int(number)) for number in self.ids]

    def _subject(self, number: int) -> torchio.Subject:
        with torch.no_grad():
            sample = self.synthesizer(torch.tensor([number]), device=self.device)
        image, labels = (
            part[0].permute(0, 3, 2, 1).contiguous().cpu() for part in (sample.image, sample.labels)
        )
        return torchio.Subject(
            {
                IMAGE: torchio.ScalarImage(tensor=image, affine=self.affine),
                LABELS: torchio.LabelMap(tensor=labels, affine=self.affine),
                ID: number,
            }
        )
