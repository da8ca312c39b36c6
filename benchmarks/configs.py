"""Hydra configurations of this repository, composed outside of ``train.py``."""

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from anystar_torch.configuration.folder import config_folder
from anystar_torch.configuration.resolvers import register_resolvers


def training_config(overrides: Sequence[str]) -> Any:
    """What ``python train.py OVERRIDES`` would use."""
    register_resolvers()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return compose("train", list(overrides))


def network(name: str) -> Any:
    """The untrained network of ``configs/model/NAME.yaml``."""
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        return instantiate(compose(overrides=[f"+model={name}"]).model)
