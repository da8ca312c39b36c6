"""A MONAI bundle: a folder that ``python -m monai.bundle run`` runs on a folder of volumes.

``configs/inference.json`` names classes of this package for the network and its post-processing, so this package must
be installed. ``required_packages_version`` says so.
"""

import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from anystar_torch import __version__
from anystar_torch.exporting import card
from anystar_torch.exporting.metadata import metadata
from anystar_torch.exporting.origin import UNKNOWN, Origin, origin
from anystar_torch.exporting.requirements import dense_only, need
from anystar_torch.io.atomic import atomic_write
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

SCHEMA = (
    "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
)
_USE = """```bash
pip install 'anystar_torch[export]'
python -m monai.bundle run --config_file BUNDLE/configs/inference.json --bundle_root BUNDLE \\
    --dataset_dir VOLUMES --output_dir LABELS            # and, if you know it: --diameter 12
```

`VOLUMES` holds NIfTI files. Labels keep their orientation and voxel size. `--diameter` is the diameter of the median
object in voxels of the finest axis. Without it the diameter is estimated."""


# Parts of configs/inference.json that are the same for all networks.
_SETTINGS: dict[str, Any] = {
    "imports": [
        "$import numpy as np",
        "$import torch",
        "$import anystar_torch.exporting.inferer as anystar",
    ],
    "bundle_root": ".",
    "dataset_dir": "$@bundle_root + '/volumes'",
    "output_dir": "$@bundle_root + '/labels'",
    "diameter": None,
    "device": "$torch.device('cuda' if torch.cuda.is_available() else 'cpu')",
}
_READING = {
    "preprocessing": {"_target_": "LoadImaged", "keys": "image", "ensure_channel_first": True},
    "dataset": {
        "_target_": "Dataset",
        "data": "$anystar.volumes(@dataset_dir)",
        "transform": "@preprocessing",
    },
    "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0},
}
_WRITING = {
    "postprocessing": {
        "_target_": "SaveImaged",
        "keys": "pred",
        "output_dir": "@output_dir",
        "output_postfix": "labels",
        "output_dtype": "$np.int32",
        "resample": False,
        "separate_folder": False,
    },
}
_RUN = {
    "handlers": [
        {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/model.pt'",
            "load_dict": {"model": "@network"},
            "map_location": "@device",
        }
    ],
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "@device",
        "val_data_loader": "@dataloader",
        "network": "@network",
        "inferer": "@inferer",
        "postprocessing": "@postprocessing",
        "val_handlers": "@handlers",
    },
    "run": ["$@evaluator.run()"],
}


def write(
    path: Path,
    network: StarDist,
    config: ModelConfig,
    authors: Sequence[str] = (),
    license_id: str | None = None,
) -> Sequence[Path]:
    """Write the bundle, a folder.

    Args:
        path: the folder to write.
        network: the network to export.
        config: its settings.
        authors: names of the authors of the network. Without them they are unknown, except for the shipped one.
        license_id: SPDX identifier of the licence of its weights, likewise. Without it there is no ``LICENSE``.

    Raises:
        ValueError: the network has a class head or several input channels, a name has a slash, or the licence is not
            written like an identifier.
        ImportError: a library that ``monai.bundle`` needs is missing.
    """
    dense_only("monai", network, channels=1)
    need("monai", "fire", "ignite", "jsonschema")
    known = origin(config, authors, license_id)
    with atomic_write(path) as folder:
        for name in ("configs", "models", "docs"):
            (folder / name).mkdir(parents=True)
        described, inference = bundle_metadata(network, config, known), inference_config(config)
        for name, content in (("metadata", described), ("inference", inference)):
            text = json.dumps(content, indent=2) + "\n"
            (folder / "configs" / f"{name}.json").write_text(text, encoding="utf-8")
        state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        torch.save(state, folder / "models" / "model.pt")
        (folder / "docs" / "README.md").write_text(
            card.readme(network, config, known, _USE), encoding="utf-8"
        )
        if known.license_id:
            people = ", ".join(known.authors) or "authors unknown"
            text = f"{known.license_id}, {people}. https://spdx.org/licenses/{known.license_id}\n"
            (folder / "LICENSE").write_text(text, encoding="utf-8")
    return [path]


def inference_config(config: ModelConfig) -> dict[str, Any]:
    """The content of ``configs/inference.json`` in MONAI's configuration language.

    Args:
        config: settings of the network.
    """
    return {
        **_SETTINGS,
        "network_def": {
            "_target_": "anystar_torch.network.stardist.StarDist.from_architecture",
            "architecture": config.architecture,
        },
        "network": "$@network_def.to(@device)",
        **_READING,
        "inferer": {
            "_target_": "anystar_torch.exporting.inferer.InstanceInferer",
            "settings": config.as_dict(),
            "diameter": "@diameter",
        },
        **_WRITING,
        **_RUN,
    }


def bundle_metadata(network: StarDist, config: ModelConfig, known: Origin) -> dict[str, Any]:
    """The content of ``configs/metadata.json``, which follows MONAI's schema.

    The schema requires authors and copyright as texts. Where they are not known, the text is "unknown".

    Args:
        network: the network to export.
        config: its settings.
        known: training data, authors and licence of the network.
    """
    people = ", ".join(known.authors)
    version = importlib.metadata.version
    packages = {
        "anystar_torch": __version__,
        "pytorch-ignite": version("pytorch-ignite"),
        "nibabel": version("nibabel"),
    }
    return {
        "schema": SCHEMA,
        "version": __version__,
        "changelog": {__version__: "written by anystar export"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.split("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": packages,
        "name": "AnyStar star-convex objects in 3D",
        "task": "3D instance segmentation of star-convex objects (nuclei, nodules, spheroids)",
        "description": known.description,
        "authors": people or UNKNOWN,
        "copyright": f"Copyright (c) {people}" if people else UNKNOWN,
        "data_source": known.training_data,
        "data_type": "nibabel",
        "image_classes": "one channel with any intensities; the inferer normalises them",
        "pred_classes": "labels: 0 for background, one number per object",
        "intended_use": "Research. Inspect results before you use them. Not for diagnostic use.",
        "references": [f"{text} https://doi.org/{doi}" for text, doi in card.CITATIONS],
        "network_data_format": _data_format(network),
        "anystar_torch": metadata(network, config),
    }


def _data_format(network: StarDist) -> dict[str, Any]:
    """Inputs and outputs of the network (z, y, x) and of the bundle (x, y, z)."""
    sizes = [f"{d}*n" for d in network.divisor]
    grid = [f"{d // g}*n" for d, g in zip(network.divisor, network.grid, strict=True)]
    rays = len(network.rays)

    def tensor(form: str, channels: int, shape: list[str], values: list[int], meaning: str) -> dict[str, Any]:
        return {
            "type": "image",
            "format": form,
            "num_channels": channels,
            "spatial_shape": shape,
            "dtype": "int32" if form == "segmentation" else "float32",
            "value_range": values,
            "is_patch_data": False,
            "channel_def": {"0": meaning},
        }

    return {
        "inputs": {"image": tensor("magnitude", 1, sizes, [0, 1], "normalised intensity; axes z, y, x")},
        "outputs": {
            "probability": tensor("magnitude", 1, grid, [0, 1], "object probability"),
            "distances": tensor(
                "magnitude", rays, grid, [], "distance to the boundary along each ray, in voxels"
            ),
        },
        "post_processed_outputs": {
            "pred": tensor(
                "segmentation", 1, ["*", "*", "*"], [], "number of the object, 0 for background; axes x, y, z"
            )
        },
    }
