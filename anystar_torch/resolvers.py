"""What a config may compute.

``${or:a,b}``, ``${portion:steps,share}``, ``${decay_over:steps}``, ``${cpu_precision:}`` and ``${has_gpu:}``.
"""

from typing import Any

import torch
from omegaconf import OmegaConf

from anystar_torch.precision import multiplies_bf16


def cpu_precision() -> str:
    """The precision Lightning should train in on this CPU: bf16 where matrices are multiplied in it (AMX)."""
    return "bf16-mixed" if multiplies_bf16() else "32-true"


def portion(steps: int, share: float) -> int:
    """A share of a number of steps, in whole steps, at least 1."""
    return max(1, round(steps * share))


def decay_over(steps: int) -> float:
    """The decay of an exponential moving average over about so many steps."""
    return 1.0 - 1.0 / max(steps, 1)


def register_resolvers() -> None:
    """Makes them known to every config composed afterwards; may be called more than once."""
    OmegaConf.register_new_resolver("or", _first, replace=True)
    OmegaConf.register_new_resolver("portion", portion, replace=True)
    OmegaConf.register_new_resolver("decay_over", decay_over, replace=True)
    OmegaConf.register_new_resolver("cpu_precision", cpu_precision, replace=True)
    OmegaConf.register_new_resolver("has_gpu", torch.cuda.is_available, replace=True)


def _first(*values: Any) -> Any:
    """The first of its arguments that is not null."""
    return next((value for value in values if value is not None), None)
