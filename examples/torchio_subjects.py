"""Synthetic subjects in TorchIO: transforms, a loader, and a subject as files.

python examples/torchio_subjects.py FOLDER [SIZE]
"""

import sys
from pathlib import Path

import torchio

from anystar_torch import load_synthesizer
from anystar_torch.exporting.torchio_dataset import SyntheticSubjects

folder, size = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 64
folder.mkdir(parents=True, exist_ok=True)
subjects = SyntheticSubjects(
    load_synthesizer("mix", shape=(size, size, size), seed=0),
    range(4),
    spacing=(0.002, 0.001, 0.001),
    transform=torchio.Compose([torchio.RandomFlip(axes=(0, 1, 2)), torchio.ZNormalization()]),
)
for batch in torchio.SubjectsLoader(subjects, batch_size=2):
    image, labels = batch["image"][torchio.DATA], batch["labels"][torchio.DATA]
    print(f"samples {batch['id'].tolist()}: images {tuple(image.shape)}, {int(labels.max())} objects at most")
subject = subjects.dry_iter()[0]
subject["image"].save(folder / "image.nii.gz")
subject["labels"].save(folder / "labels.nii.gz")
