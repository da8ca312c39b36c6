"""Volumes in and out of files: arrays ZYX, spacing (z, y, x). The only place that knows x-first formats.

``read`` gives a :class:`Scan`, ``write`` puts labels beside it with the scan's spacing and orientation. The
formats
are one file each: tiff, nifti, itk (NRRD, MetaImage), arrays (NumPy), zarrs, slices (a folder of 2D images).
"""

from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.files import (
    KINDS,
    beside,
    frames,
    is_volume,
    kind_of,
    read,
    read_labels,
    recognise,
    volumes,
    write,
    write_image,
    writer,
)
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.scan import Scan
from anystar_torch.io.tables import write_meshes, write_table

__all__ = [
    "KINDS",
    "RunRecord",
    "Scan",
    "beside",
    "frames",
    "is_volume",
    "kind_of",
    "read",
    "read_labels",
    "recognise",
    "volumes",
    "atomic_write",
    "write",
    "write_image",
    "write_meshes",
    "write_table",
    "writer",
]
