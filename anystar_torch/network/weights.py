"""A trained network as a folder: ``weights.safetensors`` and ``config.json``, readable without Lightning or Hydra.

``config.json`` holds a :class:`ModelConfig`: the architecture with its rays and grid, the normalisation, the object
diameters of the training samples, the thresholds and the provenance.
"""

import json
import math
import os
import tempfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised

from anystar_torch import __version__
from anystar_torch.network.normalisation import NORMALISATIONS
from anystar_torch.network.provenance import Provenance
from anystar_torch.network.stardist import StarDist
from anystar_torch.system.errors import first_line

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What prediction needs to know about a network beside its weights.

    Attributes:
        architecture: arguments of :meth:`anystar_torch.network.stardist.StarDist.from_architecture`.
        normalisation: a name of :data:`anystar_torch.network.normalisation.NORMALISATIONS`.
        diameter_band: volume-equivalent diameters of the training objects in voxels: 5 % quantile, median and 95 %
            quantile, weighted by volume.
        prob_thresh: candidates have a probability above it, 0 to 1.
        nms_thresh: a candidate is suppressed if its overlap (intersection over the smaller volume) with a better
            candidate is larger, 0 to 1.
        imported_from: software that trained the network, for networks of other software ("StarDist"); else None.
        sizes_known: whether ``diameter_band`` describes the training objects. False if it is assumed.
        receptive_field: effective receptive field in voxels to each side, (z, y, x); None if it was not measured.
        smallest_tile: extent in voxels that the network sees along every axis at least; thinner volumes are continued
            by their mirror images. 0 for no such extent.
        provenance: the training that made the weights.

    Raises:
        ValueError: an unknown normalisation, a band that does not ascend, or a threshold outside 0 to 1.
    """

    architecture: dict[str, Any]
    normalisation: str
    diameter_band: tuple[float, float, float]
    prob_thresh: float
    nms_thresh: float
    imported_from: str | None = None
    sizes_known: bool = True
    receptive_field: tuple[int, int, int] | None = None
    smallest_tile: int = 0
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(
                f"normalisation must be one of {tuple(NORMALISATIONS)}, got {self.normalisation!r}"
            )
        low, median, high = self.diameter_band
        if not (0 < low <= median <= high and math.isfinite(high)):
            raise ValueError(f"diameter_band must be 0 < low <= median <= high, got {self.diameter_band}")
        for name in ("prob_thresh", "nms_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")
        if self.receptive_field is not None and any(voxels < 0 for voxels in self.receptive_field):
            raise ValueError(f"receptive_field must not be negative, got {self.receptive_field}")
        if self.smallest_tile < 0:
            raise ValueError(f"smallest_tile must not be negative, got {self.smallest_tile}")

    @property
    def imported(self) -> bool:
        """Whether other software trained the network, on unknown data."""
        return self.imported_from is not None

    @classmethod
    def from_dict(cls, content: Any) -> "ModelConfig":
        """The configuration of a parsed ``config.json``, of this version or an earlier one.

        Args:
            content: the JSON object. It may also contain the version that wrote it, ``"anystar_torch"``.

        Raises:
            KeyError: an entry is missing.
            TypeError: an entry is missing or unknown.
            ValueError: a value is not valid.
        """
        entries = current_entries(content)
        entries.pop("anystar_torch", None)
        return cls(**entries)

    def as_dict(self) -> dict[str, Any]:
        """The fields as a JSON object, from which :meth:`from_dict` makes an equal configuration."""
        entries = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**entries, "provenance": self.provenance.as_dict()}


def current_entries(entries: Any) -> dict[str, Any]:
    """Entries of a stored configuration, as arguments of :class:`ModelConfig`.

    Earlier versions stored three facts in the provenance, as "imported", "sizes" and "halo".

    Args:
        entries: the JSON object, with all or some of the fields.

    Raises:
        TypeError: ``entries`` is not a JSON object.
    """
    if not isinstance(entries, dict):
        raise TypeError(f"expected a JSON object, got {type(entries).__name__}")
    current, provenance = dict(entries), dict(entries.get("provenance", {}))
    if "imported" in provenance:
        current["imported_from"] = provenance.pop("imported")
    if "sizes" in provenance:
        current["sizes_known"] = provenance.pop("sizes") != "unknown"
    if "halo" in provenance:
        current["receptive_field"] = provenance.pop("halo")
    current["provenance"] = Provenance.from_dict(provenance)
    for name in ("diameter_band", "receptive_field"):
        if current.get(name) is not None:
            current[name] = tuple(current[name])
    return current


def save(
    folder: Path | str, network: StarDist, config: ModelConfig, dtype: torch.dtype | None = None
) -> Path:
    """Write a network and its configuration to ``folder``, in place of those that are there.

    Wherever the process is killed, the two files in ``folder`` are of one network, or ``config.json`` is missing and
    :func:`load` refuses the folder.

    Args:
        folder: folder of both files. It is created if it does not exist.
        network: the network whose weights are stored.
        config: its configuration.
        dtype: type of the stored weights. torch.float16 halves the file; None keeps the type of the network. Weights
            are loaded as float32 in either case.

    Returns:
        ``folder``.

    Raises:
        ValueError: a weight is too large for ``dtype``.
    """
    state = {name: _stored(name, value, dtype) for name, value in network.state_dict().items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"anystar_torch": __version__, **config.as_dict()}, indent=2) + "\n"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as parts:
        # safetensors' save_file makes files that only their owner may read.
        Path(parts, WEIGHTS).write_bytes(serialised(state))
        Path(parts, CONFIG).write_text(text, encoding="utf-8")
        _replace_pair(Path(parts), folder)
    return folder


def load(path: Path | str) -> tuple[StarDist, ModelConfig]:
    """The network of a folder, in evaluation mode on the CPU, and its configuration.

    Args:
        path: a folder that :func:`save` wrote.

    Raises:
        ValueError: a file is missing or damaged, or the files do not belong together.
    """
    folder = Path(path)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(f"a model is a folder with {WEIGHTS} and {CONFIG}; {folder} has no {name}")
    try:
        config = ModelConfig.from_dict(json.loads((folder / CONFIG).read_bytes()))
        network = StarDist.from_architecture(config.architecture)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG} does not describe a model: {error}") from error
    try:
        state = load_file(folder / WEIGHTS)
        network.load_state_dict({name: _as_trained(value) for name, value in state.items()})
    except (SafetensorError, RuntimeError) as error:
        reason = first_line(error)
        raise ValueError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {reason}") from error
    return network.eval(), config


def _replace_pair(parts: Path, folder: Path) -> None:
    """Move both files from ``parts`` to ``folder``. Weights are never replaced beside a configuration of others."""
    former = parts / f"former_{CONFIG}"
    try:
        if (folder / CONFIG).is_file():
            os.replace(folder / CONFIG, former)
        os.replace(parts / WEIGHTS, folder / WEIGHTS)
    except BaseException:
        # Weights that are still in parts did not replace the former ones. An error alone does not tell: network drives
        # report errors of changes that were made.
        if former.is_file() and (parts / WEIGHTS).is_file():
            os.replace(former, folder / CONFIG)
        raise
    os.replace(parts / CONFIG, folder / CONFIG)


def _stored(name: str, value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor as it is stored. Integer counters keep their type."""
    value = value.detach().cpu().contiguous()
    if dtype is None or not value.is_floating_point():
        return value
    stored = value.to(dtype)
    if not stored.isfinite().all():
        raise ValueError(f"{name} has values that {dtype} cannot hold; save the network without dtype")
    return stored


def _as_trained(value: torch.Tensor) -> torch.Tensor:
    """The tensor as the network computes with it: float32, also where the file has float16."""
    return value.float() if value.is_floating_point() else value
