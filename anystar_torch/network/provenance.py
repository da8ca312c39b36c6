"""Provenance: the training that made the weights of a model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

FINE_TUNED_ON = "fine-tuned on"
"""The note of a fine-tuning with the names of its annotated volumes."""

START_IMPORTED_FROM = "start imported from"
"""The note of a training that started from a model of other software, with the name of the software."""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The training that made the weights of a model, for readers and for ``anystar info``.

    A field that is not known is None.

    Attributes:
        version: version of this package that trained.
        recipe: name of the recipe.
        seed: seed of the training samples.
        steps: number of optimizer steps.
        weights: which weights of the training were exported, "last" or "best".
        batch_size: number of samples of a step, on all devices together.
        command: command that started the training.
        synthetic_f1: F1 on synthetic samples that were not trained on, by IoU threshold.
        notes: other facts by their name. They are stored beside the fields.
    """

    version: str | None = None
    recipe: str | None = None
    seed: int | None = None
    steps: int | None = None
    weights: str | None = None
    batch_size: int | None = None
    command: str | None = None
    synthetic_f1: dict[str, float] | None = None
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def fine_tuned_on(self) -> tuple[str, ...]:
        """Names of the annotated volumes of the last fine-tuning; empty if there was none."""
        names = self.notes.get(FINE_TUNED_ON, [])
        return tuple(map(str, names)) if isinstance(names, (list, tuple)) else (str(names),)

    @property
    def start_imported_from(self) -> str | None:
        """The other software that trained the model which this training started from; None if there was none."""
        name = self.notes.get(START_IMPORTED_FROM)
        return None if name is None else str(name)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Provenance":
        """The provenance of a parsed ``config.json``, of this version or an earlier one.

        Args:
            content: the JSON object. Entries that are no field become notes.
        """
        names = {one.name for one in fields(cls)} - {"notes"}
        known = {name: value for name, value in content.items() if name in names}
        return cls(**known, notes={name: value for name, value in content.items() if name not in names})

    def as_dict(self) -> dict[str, Any]:
        """What is known as a JSON object: fields first, then notes."""
        known = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "notes"}
        return {**{name: value for name, value in known.items() if value is not None}, **self.notes}
