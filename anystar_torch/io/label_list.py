"""The group "labels" of an OME-Zarr image, which lists the label images in it."""

import json
import warnings
from dataclasses import dataclass
from typing import Any

from anystar_torch.io import label_metadata
from anystar_torch.io.label_metadata import Version
from anystar_torch.io.location import Files, Location, inner, store

_GROUP = "labels"
SOURCE = "../../"  # the image, from a label image in its group "labels"


@dataclass(frozen=True)
class Inside:
    """A label image in the group "labels" of an OME-Zarr image.

    Attributes:
        image: folder or URL of the group of the image, as :class:`LazyVolume` names it.
        name: of the label image.
    """

    image: Location
    name: str

    def __post_init__(self) -> None:
        if not self.name or "/" in self.name or "\\" in self.name or self.name.startswith((".", "__")):
            raise ValueError(f"the name of a label image must be one word such as nuclei, got {self.name!r}")

    @property
    def target(self) -> Location:
        """Folder or URL of the label image."""
        return inner(self.image, _GROUP, self.name)

    def described(self) -> tuple[Version, list[tuple[int, ...]]]:
        """What the label image takes from the image: the version of OME-Zarr, and the shapes (z, y, x) of its levels.

        OME-Zarr requires that a label image has as many levels as its image.

        Raises:
            ValueError: there is no OME-Zarr image.
        """
        import zarr

        refusal = f"{self.image} is no OME-Zarr image; labels can only be written into one"
        try:
            found = zarr.open_group(store(self.image), mode="r")
        except (FileNotFoundError, ValueError) as error:  # nothing there, or a plain array
            raise ValueError(refusal) from error
        attributes: dict[str, Any] = found.attrs.asdict()
        multiscales = attributes.get("ome", attributes).get("multiscales")
        if not multiscales:
            raise ValueError(refusal)
        levels: list[Any] = [found[level["path"]] for level in multiscales[0]["datasets"]]
        version: Version = "0.5" if found.metadata.zarr_format == 3 else "0.4"
        return version, [tuple(level.shape[-3:]) for level in levels]


def add(label: Inside, version: Version) -> None:
    """List a label image. Other names that are listed stay; a name that is listed already is not listed twice.

    Args:
        label: the label image.
        version: of OME-Zarr.
    """
    files = Files(inner(label.image, _GROUP))
    metadata, attributes = _stored(files, version)
    about: dict[str, Any] = attributes.get("ome", {}) if version == "0.5" else attributes
    names = list(about.get("labels", []))
    if label.name not in names:
        about = about | label_metadata.listed([*names, label.name], version)
        if version == "0.5":
            files.write("zarr.json", _json({**metadata, "attributes": {**attributes, "ome": about}}))
        else:
            files.write(".zattrs", _json(about))
            files.write(".zgroup", _json(metadata))
    _consolidate(label.image)


def _stored(files: Files, version: Version) -> tuple[dict[str, Any], dict[str, Any]]:
    """The metadata of the group "labels" and its attributes; those of a new group where there is none."""
    if version == "0.4":
        return {"zarr_format": 2}, json.loads(files.read(".zattrs") or b"{}")
    new = b'{"zarr_format": 3, "node_type": "group", "attributes": {}}'
    metadata: dict[str, Any] = json.loads(files.read("zarr.json") or new)
    return metadata, dict(metadata.get("attributes", {}))


def _consolidate(group: Location) -> None:
    """Make consolidated metadata anew where the image has some: a reader would not see the labels in the old ones."""
    import zarr

    opened = zarr.open_group(store(group), mode="r")
    if opened.metadata.consolidated_metadata is not None:
        with warnings.catch_warnings():  # in Zarr 3 they are not part of the specification
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(store(group, read_only=False))


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, indent=2).encode()
