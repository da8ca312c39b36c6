"""Zero-shot 3D instance segmentation with networks that are trained on synthetic volumes.

The public names are imported when they are first used, so ``import anystar_torch`` is fast.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anystar_torch.configuration.compose import load_synthesizer as load_synthesizer
    from anystar_torch.evaluation.matching import matching as matching
    from anystar_torch.geometry import ops as ops
    from anystar_torch.geometry import targets as targets
    from anystar_torch.geometry.rays import Rays as Rays
    from anystar_torch.inference.predictor import AnyStar as AnyStar

_OBJECTS = {
    "AnyStar": "anystar_torch.inference.predictor",
    "Rays": "anystar_torch.geometry.rays",
    "load_synthesizer": "anystar_torch.configuration.compose",
    "matching": "anystar_torch.evaluation.matching",
}
_MODULES = {
    "ops": "anystar_torch.geometry.ops",
    "targets": "anystar_torch.geometry.targets",
    "stardist": "anystar_torch.network.stardist",  # its name in MONAI bundles of earlier versions
}

__all__ = ["AnyStar", "Rays", "load_synthesizer", "matching", "ops", "targets"]


def __getattr__(name: str) -> Any:
    if name in _OBJECTS:
        return getattr(import_module(_OBJECTS[name]), name)
    if name in _MODULES:
        return import_module(_MODULES[name])
    raise AttributeError(f"module 'anystar_torch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
