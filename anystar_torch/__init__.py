"""anystar_torch: zero-shot 3D instance segmentation, trained on volumes synthesised while it trains.

Names are imported when first used, so that ``import anystar_torch`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from anystar_torch.configuration.compose import load_synthesizer as load_synthesizer
    from anystar_torch.evaluation.matching import CallableModule
    from anystar_torch.geometry import ops as ops
    from anystar_torch.geometry import targets as targets
    from anystar_torch.geometry.rays import Rays as Rays
    from anystar_torch.inference.predictor import AnyStar as AnyStar

    matching: CallableModule  # a module that can be called

_OBJECTS = {
    "AnyStar": "anystar_torch.inference.predictor",
    "Rays": "anystar_torch.geometry.rays",
    "load_synthesizer": "anystar_torch.configuration.compose",
}
_MODULES = {
    "matching": "anystar_torch.evaluation.matching",
    "ops": "anystar_torch.geometry.ops",
    "targets": "anystar_torch.geometry.targets",
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
