"""AnyStar in a pipeline of MONAI: load, segment, save beside each other.

python examples/monai_pipeline.py FOLDER DIAMETER VOLUME.nii.gz [VOLUME.nii.gz ...]
"""

import sys

from monai.data import Dataset
from monai.transforms import Compose, LoadImaged, SaveImaged

from anystar_torch.exporting.monai_transform import AnyStard
from anystar_torch.system.wording import number_of

folder, diameter, *volumes = sys.argv[1:]
pipeline = Compose(
    [
        LoadImaged("image", ensure_channel_first=True, image_only=True),
        AnyStard("image", diameter=float(diameter)),
        SaveImaged(
            "image_labels",
            output_dir=folder,
            output_postfix="labels",
            output_dtype="int32",
            resample=False,
            separate_folder=False,
            print_log=False,
        ),
    ]
)
for found in Dataset([{"image": path} for path in volumes], pipeline):
    print(number_of(int(found["image_labels"].max()), "object"))
