"""Load the network that a path means: a model folder, the run folder of a training, or a StarDist model."""

import json
from pathlib import Path

from anystar_torch.network import keras_import, weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import made_on_cpu

SHIPPED = Path(__file__).parent / "pretrained"

ANYSTAR_BAND = (6.0, 13.0, 21.0)
"""Object diameters of AnyStar's training samples. They are assumed for imported networks, whose files have none."""


def load_model(path: Path | str | None = None) -> tuple[StarDist, ModelConfig]:
    """The network of ``path``, in evaluation mode on the CPU, and its configuration.

    Args:
        path: a model folder (``weights.safetensors`` and ``config.json``), or the run folder of a training, which
            contains one. The folder of a StarDist or AnyStar model trained with Keras (``config.json`` and ``*.h5``)
            is read too. None for the shipped weights.

    Raises:
        ValueError: there is no model at ``path``, or it cannot be read.
        ImportError: it is a Keras model, and h5py is missing.
    """
    if path is None and not (SHIPPED / weights.WEIGHTS).is_file():
        raise ValueError("this installation has no shipped weights; give a model folder")
    folder = SHIPPED if path is None else Path(path)
    if not folder.exists():
        raise ValueError(f"there is no model folder {folder}")
    with made_on_cpu():
        network, config = _loaded(folder)
    return network.float(), config  # also where the program has another default type


def is_shipped(config: ModelConfig) -> bool:
    """Whether a configuration is that of the shipped weights. Thresholds and other settings may have been changed.

    Args:
        config: of the network in question.
    """
    file = SHIPPED / weights.CONFIG
    if not file.is_file():
        return False
    shipped = ModelConfig.from_dict(json.loads(file.read_bytes()))
    return (config.architecture, config.provenance) == (shipped.architecture, shipped.provenance)


def _loaded(folder: Path) -> tuple[StarDist, ModelConfig]:
    for place in (folder, folder / "model"):
        if (place / weights.WEIGHTS).is_file():
            return weights.load(place)
    if folder.is_dir() and keras_import.is_stardist_folder(folder):
        return _stardist(folder)
    return weights.load(folder)


def _stardist(folder: Path) -> tuple[StarDist, ModelConfig]:
    """The network of a StarDist folder. What StarDist does not store is read from a second file, or assumed."""
    assumed = {
        "normalisation": "percentile",
        "diameter_band": ANYSTAR_BAND,
        "imported_from": "StarDist",
        "sizes_known": False,
    }
    try:
        network, thresholds = keras_import.load_stardist(folder)
        known = keras_import.settings(folder) or assumed
        thresh = {"prob_thresh": thresholds.get("prob", 0.5), "nms_thresh": thresholds.get("nms", 0.4)}
        config = ModelConfig(architecture=network.architecture, **{**known, **thresh})
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"{folder} is no StarDist model that can be read: {error}") from error
    return network.eval(), config
