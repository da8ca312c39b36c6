"""Volumes in and out of files, with arrays ZYX and spacing (z, y, x).

:func:`read` returns a :class:`SpatialImage`; :func:`write` writes labels with its spacing and orientation.
Every format has one module, which ``formats.py`` lists.
"""

from anystar_torch.io.atomic import atomic_write, check_target
from anystar_torch.io.file_scenes import scenes
from anystar_torch.io.files import frames, read, read_labels, read_record, write, write_image
from anystar_torch.io.formats import KINDS, beside, container, is_volume, kind_of, recognise, volumes, writer
from anystar_torch.io.label_list import Inside
from anystar_torch.io.label_store import LabelStore
from anystar_torch.io.labels import int32_ids
from anystar_torch.io.lazy_volume import LazyVolume, open_volume
from anystar_torch.io.location import Location, is_url
from anystar_torch.io.orientation import reoriented
from anystar_torch.io.run_record import RunRecord
from anystar_torch.io.sparing import check_folder, spare
from anystar_torch.io.spatial_image import SpatialImage
from anystar_torch.io.tables import check_table, holds_only_meshes, write_meshes, write_table

__all__ = [
    "KINDS",
    "Inside",
    "LabelStore",
    "LazyVolume",
    "Location",
    "RunRecord",
    "SpatialImage",
    "beside",
    "container",
    "frames",
    "holds_only_meshes",
    "int32_ids",
    "is_url",
    "is_volume",
    "kind_of",
    "open_volume",
    "read",
    "read_labels",
    "read_record",
    "recognise",
    "reoriented",
    "scenes",
    "spare",
    "volumes",
    "atomic_write",
    "check_folder",
    "check_table",
    "check_target",
    "write",
    "write_image",
    "write_meshes",
    "write_table",
    "writer",
]
