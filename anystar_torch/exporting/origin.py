"""What shared packages say of a network's training data, authors and licence. Nothing is said that is not known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from anystar_torch.network.loading import is_shipped
from anystar_torch.network.weights import ModelConfig

AUTHORS = "The anystar_torch authors"
LICENSE = "BSD-3-Clause"
UNKNOWN = "unknown"

SYNTHETIC = (
    "Synthetic volumes that were made during training: star-convex objects with random positions, shapes, "
    "contrasts and textures, on random backgrounds, with random imaging effects (blur, noise, bias field, dropout). "
    "Every volume is a function of a seed and a number. The generator is part of anystar_torch; no data set is stored."
)
TRAINING_DATA = f"{SYNTHETIC} No real image was used."
_DESCRIPTION = (
    "Segments star-convex objects (nuclei, nodules, spheroids) in 3D volumes of any modality. "
    "A StarDist network, trained only on synthetic volumes, as proposed by AnyStar."
)
_FINE_TUNED = (
    "Segments star-convex objects in 3D volumes. A StarDist network that was trained on synthetic volumes, as proposed "
    "by AnyStar, and then fine-tuned on annotated volumes of its user."
)
_IMPORTED = (
    "Segments star-convex objects in 3D volumes. A StarDist network that was trained by other software."
)


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Training data, authors and licence of a network.

    Attributes:
        description: of the network, in at most 1024 letters.
        training_data: in sentences.
        synthetic: whether it is known that the network was trained on nothing but synthetic volumes.
        authors: names of the authors of the network; empty if they are not known.
        license_id: SPDX identifier of the licence of the weights; None if it is not known.
    """

    description: str
    training_data: str
    synthetic: bool
    authors: tuple[str, ...]
    license_id: str | None

    @property
    def credits(self) -> str:
        """Authors and licence in two sentences."""
        authors = ", ".join(self.authors) or UNKNOWN
        return f"Authors of the network: {authors}. Licence of its weights: {self.license_id or UNKNOWN}."


def origin(config: ModelConfig, authors: Sequence[str] = (), license_id: str | None = None) -> Origin:
    """What is known of the origin of a network.

    The authors and the licence of the shipped network are known. Those of other networks, which were imported,
    fine-tuned or trained by a user of this package, are what is given.

    Args:
        config: settings and provenance of the network.
        authors: names of the authors.
        license_id: SPDX identifier of the licence of the weights.

    Raises:
        ValueError: a name is empty or has a slash, or the licence is not written like an identifier.
    """
    for name in authors:
        if not name.strip() or re.search(r"[/\\\n]", name):
            raise ValueError(f"authors must be names without slashes, got {name!r}")
    if license_id is not None and not re.fullmatch(r"[\w.+-]+", license_id):
        raise not_an_identifier(license_id)
    shipped = is_shipped(config)
    return Origin(
        description=_description(config),
        training_data=_training_data(config),
        synthetic=not (_software(config) or config.provenance.fine_tuned_on),
        authors=tuple(authors) or ((AUTHORS,) if shipped else ()),
        license_id=license_id or (LICENSE if shipped else None),
    )


def not_an_identifier(license_id: str) -> ValueError:
    """The error for a licence that is not an SPDX identifier.

    Args:
        license_id: what was given.
    """
    return ValueError(
        f"license_id must be an SPDX identifier, such as CC-BY-4.0 (https://spdx.org/licenses), got {license_id!r}"
    )


def _software(config: ModelConfig) -> str | None:
    """The other software that trained the network, or the model that its training started from."""
    return config.imported_from or config.provenance.start_imported_from


def _description(config: ModelConfig) -> str:
    tuned = bool(config.provenance.fine_tuned_on)
    if _software(config) is None:
        return _FINE_TUNED if tuned else _DESCRIPTION
    later = "fine-tuned on annotated volumes of its user" if tuned else "trained on synthetic volumes"
    return _IMPORTED if config.imported and not tuned else f"{_IMPORTED} It was then {later}."


def _training_data(config: ModelConfig) -> str:
    """The training data in their order. A fine-tuned model names the volumes of its last fine-tuning only."""
    software = _software(config)
    unknown = f"Unknown, because the network was imported from {software}."
    if not config.imported:
        unknown += " Then synthetic volumes that were made during training."
    tuned = config.provenance.fine_tuned_on
    if not tuned:
        return TRAINING_DATA if software is None else unknown
    volumes = f"Then annotated volumes of its user: {', '.join(tuned)}."
    if software is not None:
        return f"{unknown} {volumes} Synthetic volumes may have been mixed with them."
    if config.provenance.notes.get("start") == "pretrained":  # the shipped weights
        return f"{SYNTHETIC} {volumes}"
    return f"{SYNTHETIC} {volumes} The model that this started from may have been fine-tuned before."
