"""A trained network as a folder: ``weights.safetensors`` and ``config.json``, readable without Lightning or Hydra.

config.json says everything prediction needs to know: architecture (with rays and grid), normalisation, the band of
object diameters the network was trained on, the thresholds, and where the weights come from.
"""

import json
import math
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as serialised

from anystar_torch import __version__
from anystar_torch.network.stardist import StarDist

WEIGHTS = "weights.safetensors"
CONFIG = "config.json"
NORMALISATIONS = ("percentile", "minmax", "anystar", "clipped")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """What prediction must know of a network beside its weights.

    Attributes:
        architecture: what :meth:`anystar_torch.network.stardist.StarDist.from_architecture` takes.
        normalisation: a name of :mod:`anystar_torch.inference.normalise`.
        diameter_band: volume-equivalent diameters of the training objects, weighted by volume, in voxels:
            5 % quantile, median, 95 % quantile.
        prob_thresh: candidates need a probability above it, in (0, 1).
        nms_thresh: overlap (intersection over the smaller volume) above which the lesser candidate goes, in [0, 1].
        provenance: seed, recipe, steps, version and scores, for people and for ``anystar info``.
    """

    architecture: dict[str, Any]
    normalisation: str
    diameter_band: tuple[float, float, float]
    prob_thresh: float
    nms_thresh: float
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation must be one of {NORMALISATIONS}, got {self.normalisation!r}")
        low, median, high = self.diameter_band
        if not (0 < low <= median <= high and math.isfinite(high)):
            raise ValueError(f"diameter_band must be 0 < low <= median <= high, got {self.diameter_band}")
        for name in ("prob_thresh", "nms_thresh"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in [0, 1], got {getattr(self, name)}")

    @property
    def imported(self) -> bool:
        """Whether the network was trained with StarDist, on data we know nothing of."""
        return "imported" in self.provenance

    @property
    def knows_sizes(self) -> bool:
        """Whether ``diameter_band`` is what the network was trained on, and not a guess."""
        return self.provenance.get("sizes") != "unknown"


def save(
    folder: Path | str, network: StarDist, config: ModelConfig, dtype: torch.dtype | None = None
) -> Path:
    """Writes the network to ``folder`` (made if absent), each file whole or not at all.

    Args:
        folder: where both files go.
        network: whose weights are stored.
        config: what prediction must know beside them.
        dtype: of the stored weights: torch.float16 halves the file; None for what the network has. They are loaded
            as float32 either way.

    Raises:
        ValueError: a weight that ``dtype`` cannot hold.
    """
    state = {name: _stored(name, value, dtype) for name, value in network.state_dict().items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"anystar_torch": __version__, **asdict(config)}, indent=2) + "\n"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as parts:
        # not save_file, which lets nobody but the owner read the file
        Path(parts, WEIGHTS).write_bytes(serialised(state))
        Path(parts, CONFIG).write_text(text)
        for name in (WEIGHTS, CONFIG):
            os.replace(Path(parts, name), folder / name)
    return folder


def load(path: Path | str) -> tuple[StarDist, ModelConfig]:
    """The network of a folder, in evaluation mode on the CPU, and its configuration.

    Raises:
        ValueError: a path that is not such a folder, or whose files do not fit together; says which and why.
    """
    folder = Path(path)
    for name in (WEIGHTS, CONFIG):
        if not (folder / name).is_file():
            raise ValueError(f"a model is a folder with {WEIGHTS} and {CONFIG}; {folder} has no {name}")
    try:
        content = json.loads((folder / CONFIG).read_text())
        content.pop("anystar_torch", None)
        content["diameter_band"] = tuple(content["diameter_band"])
        config = ModelConfig(**content)
        network = StarDist.from_architecture(config.architecture)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / CONFIG} does not describe a model: {error}") from error
    try:
        state = load_file(folder / WEIGHTS)
        network.load_state_dict({name: _as_trained(value) for name, value in state.items()})
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {reason}") from error
    return network.eval(), config


def _stored(name: str, value: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    """The tensor as the file holds it; counters stay integers."""
    value = value.detach().cpu().contiguous()
    if dtype is None or not value.is_floating_point():
        return value
    stored = value.to(dtype)
    if not stored.isfinite().all():
        raise ValueError(f"{name} has values that {dtype} cannot hold; save it without dtype")
    return stored


def _as_trained(value: torch.Tensor) -> torch.Tensor:
    """Shipped weights are stored as float16; the network computes in float32."""
    return value.float() if value.is_floating_point() else value
