"""Which network a path means: a folder of this package, a training's run folder, or a StarDist model."""

from pathlib import Path

from anystar_torch.network import keras_import as keras
from anystar_torch.network import weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

SHIPPED = Path(__file__).parent / "pretrained"

#: AnyStar's objects, weighted by volume: for imported networks, whose files do not tell what they were trained on.
ANYSTAR_BAND = (6.0, 13.0, 21.0)


def load(path: Path | str | None = None) -> tuple[StarDist, ModelConfig]:
    """The network of ``path``, in evaluation mode on the CPU, and its configuration.

    Args:
        path: a folder with ``weights.safetensors`` and ``config.json``; a run folder of ``train.py``, which has one in
            it; or the folder of a StarDist or AnyStar model trained with Keras (``config.json`` beside ``*.h5``).
            None for the shipped weights.

    Raises:
        ValueError: no such model, or one that cannot be read.
        ImportError: a Keras model, and h5py is missing.
    """
    if path is None and not (SHIPPED / weights.WEIGHTS).is_file():
        raise ValueError("this installation carries no weights; give a model folder (--model)")
    folder = SHIPPED if path is None else Path(path)
    if not folder.exists():
        raise ValueError(f"there is no model folder {folder}")
    for place in (folder, folder / "model"):
        if (place / weights.WEIGHTS).is_file():
            return weights.load(place)
    return _stardist(folder) if folder.is_dir() and keras.is_stardist_folder(folder) else weights.load(folder)


def _stardist(folder: Path) -> tuple[StarDist, ModelConfig]:
    try:
        network, thresholds = keras.load_stardist(folder)
        known = keras.settings(folder)
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"{folder} is no StarDist model that can be read: {error}") from error
    unknown = {
        "normalisation": "percentile",
        "diameter_band": ANYSTAR_BAND,
        "provenance": {"imported": "StarDist", "sizes": "unknown"},
    }
    return network.eval(), ModelConfig(
        architecture=network.architecture,
        prob_thresh=thresholds.get("prob", 0.5),
        nms_thresh=thresholds.get("nms", 0.4),
        **{name: known.get(name, value) for name, value in unknown.items()},
    )
