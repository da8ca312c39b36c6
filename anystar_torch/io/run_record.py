"""What made a result: one record with one schema, stored with every output."""

import json
from dataclasses import asdict, dataclass, fields
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from anystar_torch import __version__

VERSION = 1
_VERSION_KEY = "run_record"

#: Names of fields in records without a version, which earlier programs wrote.
_OLD_NAMES = {
    "flips": "tta",
    "averaged": "shape_averaging",
    "multiscale": "coarse_pass",
    "size": "diameter_source",
    "diameter": "diameters",
}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """Settings and source of a result. A field is None where its value is not known.

    Attributes:
        anystar_torch: version of this package.
        model: folder of the model, or "shipped".
        normalisation: name of the intensity normalisation.
        tta: whether predictions are means over mirrored inputs (test-time augmentation).
        shape_averaging: whether an object's shape is the mean over its candidates.
        coarse_pass: whether scores include a second pass at a coarser scale.
        prob_thresh: probability threshold.
        nms_thresh: overlap threshold of the suppression.
        diameters: diameter of the median object in voxels of the finest axis, one per time point.
        diameter_source: where the diameters come from.
        device: device of the network.
        precision: number type of the network's convolutions.
        source: absolute path of the input volume.
        checksum: of the voxels of the input volume, as :func:`anystar_torch.io.identity.checksum` computes it.
        affine: 16 numbers, row by row, that map a voxel index (x, y, z) to millimetres right, anterior, superior.
        spacing: voxel size (z, y, x) that was used.
        unit: "um" where ``spacing`` is in micrometres, "" where only its ratios are known.
        channel: channel of the input, where it has several.
        frame: time point of the input, where one of several was chosen.
        axes: letters of the dimensions of the input, where the user gave them.
        scene: name or number of the scene of the input, where the user chose one.
        objects: number of objects in the result.
        notes: warnings and remarks of the run.
    """

    anystar_torch: str | None = __version__
    model: str | None = None
    normalisation: str | None = None
    tta: bool = False
    shape_averaging: bool = True
    coarse_pass: bool = True
    prob_thresh: float | None = None
    nms_thresh: float | None = None
    diameters: tuple[float, ...] = ()
    diameter_source: Literal["given", "estimated", "assumed"] | None = None
    device: str | None = None
    precision: str | None = None
    source: str | None = None
    checksum: str | None = None
    affine: tuple[float, ...] | None = None
    spacing: tuple[float, float, float] | None = None
    unit: str = ""
    channel: int | None = None
    frame: int | None = None
    axes: str | None = None
    scene: str | None = None
    objects: int | None = None
    notes: tuple[str, ...] = ()

    def to_json(self, indent: int | None = None) -> str:
        """The record as one JSON object, with the version of its schema.

        Args:
            indent: spaces per level of nesting; None for one line.
        """
        return json.dumps({_VERSION_KEY: VERSION, **asdict(self)}, indent=indent)

    @classmethod
    def from_json(cls, text: str) -> "RunRecord":
        """The record that :meth:`to_json` wrote, or that an earlier program wrote without a version.

        Args:
            text: a JSON object.

        Raises:
            ValueError: the text is no record, or a newer program wrote it.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise ValueError(f"a run record must be JSON: {error}") from error
        if not isinstance(content, dict):
            raise ValueError(f"a run record must be a JSON object, got {type(content).__name__}")
        version = content.pop(_VERSION_KEY, None)
        if version is None:
            return cls(**_checked(_from_old(content)))
        if version != VERSION:
            raise ValueError(
                f"the run record has version {version!r}; anystar_torch {__version__} reads version {VERSION}: "
                "update anystar_torch"
            )
        return cls(**_checked(content))


def is_record(text: str) -> bool:
    """Whether a text in the metadata of a file is a run record, and not of another program.

    Args:
        text: may be in another one, such as XML.
    """
    return f'"{_VERSION_KEY}"' in text or '"anystar_torch"' in text


def _from_old(content: dict[str, Any]) -> dict[str, Any]:
    """Fields of a record without a version; keys without a successor are left out."""
    known = {field.name for field in fields(RunRecord)}
    renamed = {_OLD_NAMES.get(name, name): value for name, value in content.items()}
    diameter = renamed.get("diameters", [])
    renamed["diameters"] = diameter if isinstance(diameter, list) else [diameter]
    return {"anystar_torch": None, **{name: value for name, value in renamed.items() if name in known}}


def _checked(content: dict[str, Any]) -> dict[str, Any]:
    """The fields with lists as tuples, if every one is known and has the type of the schema."""
    types = get_type_hints(RunRecord)
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in content.items()}
    for name, value in values.items():
        if name not in types:
            raise ValueError(f"a run record has no field {name!r}")
        if not _fits(value, types[name]):
            raise ValueError(f"{name} of a run record cannot be {value!r}")
    return values


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has a type: one of those in the annotations of :class:`RunRecord`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return value in inner
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is Ellipsis else inner
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if kind in (int, float):
        return isinstance(value, int if kind is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind)
