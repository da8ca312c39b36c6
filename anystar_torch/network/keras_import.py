"""Import networks that StarDist or AnyStar trained with TensorFlow. TensorFlow is not needed.

The folder of such a network has ``config.json``, ``weights_best.h5`` or ``weights_last.h5``, and often
``thresholds.json``. Weights are assigned by the order of the layers, as in Keras: the n-th convolution of the file is
the n-th convolution of the network. Layer names are not used, because they change from run to run.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from anystar_torch.network.resnet import StridedConv
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import current_entries

WEIGHT_FILES = ("weights_best.h5", "weights_last.h5")
SETTINGS = "anystar_torch.json"
"""File that ``anystar export --format keras`` adds to those of StarDist, with settings that StarDist does not store."""

Arrays = dict[str, NDArray[np.float32]]


def is_stardist_folder(folder: Path) -> bool:
    """Whether ``folder`` contains ``config.json`` and Keras weights.

    Args:
        folder: the folder to check.
    """
    return (folder / "config.json").is_file() and any(folder.glob("*.h5"))


def load_stardist(folder: Path) -> tuple[StarDist, dict[str, float]]:
    """Load the network of a StarDist folder.

    Args:
        folder: the folder of the model.

    Returns:
        The network in evaluation mode, and its thresholds by their names "prob" and "nms" (empty if unknown).

    Raises:
        ValueError: a file cannot be read, or :class:`StarDist` does not support the network.
        ImportError: h5py is missing.
    """
    config = _object_of(folder / "config.json")
    network = StarDist.from_architecture(architecture(config))
    files = [folder / name for name in WEIGHT_FILES if (folder / name).is_file()]
    load_weights(network, (files or sorted(folder.glob("*.h5")))[0])
    thresholds = folder / "thresholds.json"
    return network.eval(), _object_of(thresholds) if thresholds.is_file() else {}


def _object_of(path: Path) -> dict[str, Any]:
    """The content of a JSON file that holds an object.

    Raises:
        ValueError: it is damaged, or holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def settings(folder: Path) -> dict[str, Any]:
    """Fields of ModelConfig that :mod:`anystar_torch.exporting.keras` stored; empty if there is no such file.

    Args:
        folder: the folder of the model.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / SETTINGS
    if not path.is_file():
        return {}
    try:
        content = current_entries(json.loads(path.read_bytes()))
        return {name: content[name] for name in ("normalisation", "diameter_band", *content)}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a file of anystar export: {error}") from error


def architecture(config: dict[str, Any]) -> dict[str, Any]:
    """The architecture of a StarDist ``config.json``, for :meth:`StarDist.from_architecture`.

    Args:
        config: contents of ``config.json``.

    Raises:
        ValueError: :class:`StarDist` does not support a setting.
    """
    kind = config.get("backbone", "unet")
    if kind not in BACKBONES:
        raise ValueError(f"this StarDist model has the backbone {kind!r}; {sorted(BACKBONES)} can be loaded")
    numbers, fixed = BACKBONES[kind]
    for name, only in {"n_dim": 3, **fixed}.items():
        if config.get(name, only) != only:
            raise ValueError(f"this StarDist model has {name} = {config[name]}; only {only} can be loaded")
    rays = config["rays_json"]
    if rays["name"] != "Rays_GoldenSpiral":
        raise ValueError(f"this StarDist model has {rays['name']}; only Rays_GoldenSpiral can be loaded")
    return {
        "rays": rays["kwargs"]["n"],
        "anisotropy": list(rays["kwargs"].get("anisotropy") or (1.0, 1.0, 1.0)),
        "grid": list(config["grid"]),
        "features": config[f"net_conv_after_{kind}"],
        "channels": config["n_channel_in"],
        "classes": config.get("n_classes") or 0,
        "backbone": {"kind": kind, **{ours: config[theirs] for ours, theirs in numbers.items()}},
    }


BACKBONES: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    # our name -> StarDist's name; settings of StarDist with the only supported value
    "unet": (
        {
            "filters": "unet_n_filter_base",
            "depth": "unet_n_depth",
            "batch_norm": "unet_batch_norm",
            "kernel": "unet_kernel_size",
            "pool": "unet_pool",
        },
        {"unet_n_conv_per_depth": 2, "unet_activation": "relu", "unet_last_activation": "relu"},
    ),
    "resnet": (
        {
            "filters": "resnet_n_filter_base",
            "blocks": "resnet_n_blocks",
            "convolutions": "resnet_n_conv_per_block",
            "batch_norm": "resnet_batch_norm",
            "kernel": "resnet_kernel_size",
        },
        {"resnet_activation": "relu"},
    ),
}


def load_weights(network: StarDist, path: Path) -> None:
    """Load a Keras weights file into ``network``, layer by layer in order.

    The file has the legacy layout of Keras 2 and 3, or the layout of Keras 3 (``*.weights.h5``). The shortcut of a
    residual block may precede or follow the last convolution of the block.

    Args:
        network: changed in place.
        path: the file.

    Raises:
        ValueError: the layers of the file differ from those of the network.
        ImportError: h5py is missing.
    """
    layers = _read_layers(path)
    for kind, module_type in (("convolution", nn.Conv3d), ("normalisation", nn.BatchNorm3d)):
        stored = [layer for layer in layers if ("kernel" in layer) == (kind == "convolution")]
        modules = _in_keras_order(network, module_type)
        if len(stored) != len(modules):
            raise ValueError(
                f"{path} has {len(stored)} {kind} layers, the network of its config.json has {len(modules)}"
            )
        for layer, module in zip(_shortcuts_last(stored, modules), modules, strict=True):
            _copy(layer, module, path)


def _in_keras_order(network: StarDist, kind: type[nn.Module]) -> list[nn.Module]:
    """Layers of one type in Keras' order. There the features of the class head precede the other heads."""
    parts = [network.backbone, network.features]
    if network.classes:
        parts.append(network.class_features)
    parts += [network.probability, network.distances]
    if network.classes:
        parts.append(network.class_logits)
    return [module for part in parts for module in part.modules() if isinstance(module, kind)]


def _shortcuts_last(stored: list[Arrays], modules: list[nn.Module]) -> list[Arrays]:
    """``stored`` with every shortcut after the last convolution of its block, as in the modules."""
    ordered = list(stored)
    for index, module in enumerate(modules[1:], start=1):
        shortcut = isinstance(module, StridedConv) and module.kernel_size == (1, 1, 1)
        if shortcut and ordered[index - 1]["kernel"].shape[:3] == (1, 1, 1):
            ordered[index - 1 : index + 1] = ordered[index], ordered[index - 1]
    return ordered


def _read_layers(path: Path) -> list[Arrays]:
    """The layers of a file that have weights, in order, each as {"kernel", "bias"} or {"gamma", ...}."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"reading {path.name} needs h5py: pip install 'anystar_torch[keras]'") from error
    try:
        with h5py.File(path) as file:
            return _legacy_layers(file) if "layer_names" in file.attrs else _keras3_layers(file)
    except OSError as error:
        raise ValueError(f"{path} is not a Keras weights file: {error}") from error


def _legacy_layers(file: Any) -> list[Arrays]:
    layers = []
    for layer in (_text(name) for name in file.attrs["layer_names"]):
        names = [_text(name) for name in file[layer].attrs["weight_names"]]
        if names:
            layers.append({_last(name): np.asarray(file[layer][name]) for name in names})
    return layers


def _keras3_layers(file: Any) -> list[Arrays]:
    """The layers of a file of Keras 3, which counts them per class (``conv3d``, ``conv3d_1``, ...)."""
    layers = []
    for kind, names in (
        ("conv3d", ("kernel", "bias")),
        ("batch_normalization", ("gamma", "beta", "moving_mean", "moving_variance")),
    ):
        groups = [key for key in file["layers"] if key == kind or key.startswith(f"{kind}_")]
        for key in sorted(groups, key=lambda key: int(key[len(kind) + 1 :] or 0)):
            variables = file["layers"][key]["vars"]
            if len(variables):
                layers.append(
                    {
                        name: np.asarray(variables[str(i)])
                        for i, name in enumerate(names)
                        if str(i) in variables
                    }
                )
    return layers


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _last(name: str) -> str:
    """``conv/kernel:0`` -> ``kernel``."""
    return name.rsplit("/", 1)[-1].split(":")[0]


PARAMETERS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
"""Name of a parameter in Keras -> its name in PyTorch."""


@torch.no_grad()
def _copy(layer: Arrays, module: nn.Module, path: Path) -> None:
    for name, values in layer.items():
        # (z, y, x, in, out) in Keras, (out, in, z, y, x) in PyTorch; both compute cross-correlations
        values = values.transpose(4, 3, 0, 1, 2) if name == "kernel" else values
        target = getattr(module, PARAMETERS[name])
        if tuple(target.shape) != values.shape:
            raise ValueError(
                f"{path} has a {name} of {values.shape} where the network has {tuple(target.shape)}"
            )
        target.copy_(torch.from_numpy(np.ascontiguousarray(values)))
