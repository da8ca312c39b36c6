"""A model folder for StarDist with TensorFlow, and for programs that use StarDist models.

``config.json`` and ``weights_best.h5`` have the format of StarDist (Config3D, and the legacy layout of Keras weights);
``thresholds.json`` holds the thresholds. ``anystar_torch.json`` holds normalisation and object size, for which StarDist
has no place. StarDist ignores this file; :mod:`anystar_torch.network.keras_import` reads it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anystar_torch.exporting.keras_layers import Layer, layers, values
from anystar_torch.exporting.requirements import need
from anystar_torch.io.atomic import atomic_write
from anystar_torch.io.hdf5 import created
from anystar_torch.network.keras_import import BACKBONES, SETTINGS, WEIGHT_FILES
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig

_KERAS = "3.0.0"  # the layout of all versions since 2.0; readers only check that it is not older

# StarDist's defaults (Config3D) for training, with which StarDist can continue to train the network.
_TRAINING = {
    "train_checkpoint": "weights_best.h5",
    "train_checkpoint_last": "weights_last.h5",
    "train_checkpoint_epoch": "weights_now.h5",
    "train_patch_size": [128, 128, 128],
    "train_background_reg": 0.0001,
    "train_foreground_only": 0.9,
    "train_sample_cache": True,
    "train_dist_loss": "mae",
    "train_epochs": 400,
    "train_steps_per_epoch": 100,
    "train_learning_rate": 0.0003,
    "train_batch_size": 1,
    "train_n_val_patches": None,
    "train_tensorboard": True,
    "train_reduce_lr": {"factor": 0.5, "patience": 40, "min_delta": 0},
}

# Options of StarDist that have one value in the networks of this package.
_FIXED: dict[str, dict[str, Any]] = {
    "unet": {"unet_dropout": 0.0, "unet_expansion": 2, "unet_prefix": ""},
    "resnet": {"resnet_kernel_init": "he_normal"},
}


def write(path: Path, network: StarDist, config: ModelConfig) -> Sequence[Path]:
    """Write the folder ``path``.

    Args:
        path: the folder to write.
        network: the network to export.
        config: its settings.

    Raises:
        ValueError: StarDist has no such backbone or layer.
        ImportError: h5py is missing.
    """
    need("keras", "h5py")
    described, weighted = stardist_config(network), layers(network)
    settings = {name: value for name, value in config.as_dict().items() if name != "architecture"}
    thresholds = {"prob": config.prob_thresh, "nms": config.nms_thresh}
    with atomic_write(path) as folder:
        folder.mkdir()
        write_weights(folder / WEIGHT_FILES[0], weighted)
        for name, content in (
            ("config.json", described),
            ("thresholds.json", thresholds),
            (SETTINGS, settings),
        ):
            (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return [path]


def stardist_config(network: StarDist) -> dict[str, Any]:
    """The content of StarDist's ``config.json`` for a network.

    Args:
        network: the network to export.

    Raises:
        ValueError: StarDist has no such backbone.
    """
    architecture = network.architecture
    backbone = dict(architecture["backbone"])
    kind = backbone.pop("kind")
    if kind not in BACKBONES:
        raise ValueError(f"keras can express the backbones {', '.join(BACKBONES)}; this network has {kind!r}")
    if kind == "resnet" and backbone["convolutions"] < 2:
        raise ValueError(
            "keras can express residual blocks of at least 2 convolutions; those of this network have 1"
        )
    numbers, fixed = BACKBONES[kind]
    anisotropy = architecture["anisotropy"]
    spread = None if set(anisotropy) == {1.0} else anisotropy
    rays, channels, classes = architecture["rays"], architecture["channels"], architecture["classes"]
    return {
        "n_dim": 3,
        "axes": "ZYXC",
        "n_channel_in": channels,
        "n_channel_out": rays + 1,
        "n_rays": rays,
        "grid": architecture["grid"],
        "anisotropy": spread,
        "backbone": kind,
        "rays_json": {"name": "Rays_GoldenSpiral", "kwargs": {"n": rays, "anisotropy": spread}},
        "n_classes": classes or None,
        **{numbers[ours]: value for ours, value in backbone.items()},
        **fixed,
        **_FIXED[kind],
        f"net_conv_after_{kind}": architecture["features"],
        "net_input_shape": [None, None, None, channels],
        "net_mask_shape": [None, None, None, 1],
        **_TRAINING,
        "train_loss_weights": [1, 0.2, 1] if classes else [1, 0.2],
        "train_class_weights": [1] * (classes + 1) if classes else [1, 1],
        "use_gpu": False,
    }


def write_weights(path: Path, weighted: Sequence[Layer]) -> None:
    """Write weights in Keras' legacy layout: one group per layer with the names of its weights.

    Args:
        path: the file (.h5).
        weighted: the layers, in the order of the file.
    """
    import h5py

    text = h5py.string_dtype("ascii")
    with created(path) as file:
        file.attrs.create("layer_names", [layer.name for layer in weighted], dtype=text)
        file.attrs.create("backend", "tensorflow", dtype=text)
        file.attrs.create("keras_version", _KERAS, dtype=text)
        for layer in weighted:
            group = file.create_group(layer.name)
            arrays = {f"{layer.name}/{name}": array for name, array in values(layer).items()}
            if arrays:
                group.attrs.create("weight_names", list(arrays), dtype=text)
            else:
                group.attrs["weight_names"] = []
            for name, array in arrays.items():
                group.create_dataset(name, data=array)
        file.create_group("top_level_model_weights").attrs["weight_names"] = []
