"""Functions that configuration files may call (OmegaConf resolvers).

They are ``${or:a,b}``, ``${portion:steps,share}``, ``${interval:steps,count}``, ``${decay_over:steps}``,
``${cpu_precision:}``, ``${gpu_precision:ACCELERATOR}`` and ``${on_cuda:ACCELERATOR}``. ACCELERATOR is one of
Lightning's names.
"""

from typing import Any

import torch
from omegaconf import OmegaConf

from anystar_torch.system.precision import multiplies_bf16


def cpu_precision() -> str:
    """Lightning's precision for this CPU: bf16 if it multiplies matrices in bf16 (AMX), else float32."""
    return "bf16-mixed" if multiplies_bf16() else "32-true"


def on_cuda(accelerator: str) -> bool:
    """Whether an accelerator is a CUDA device on this machine.

    Args:
        accelerator: Lightning's name of it: "auto", "gpu", "cuda", "cpu", ...
    """
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def gpu_precision(accelerator: str) -> str:
    """Lightning's precision for an accelerator: bf16 on GPUs that compute in bf16, fp16 on older GPUs.

    On a CPU it is :func:`cpu_precision`, on other accelerators float32.

    Args:
        accelerator: Lightning's name of it: "auto", "gpu", "cuda", "cpu", ...
    """
    if on_cuda(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        return cpu_precision()
    return "32-true"


def portion(steps: int, share: float) -> int:
    """A fraction of a number of steps, rounded, at least 1.

    Args:
        steps: number of steps.
        share: fraction, 0 to 1.
    """
    return max(1, round(steps * share))


def interval(steps: int, count: int) -> int:
    """The smallest interval that divides a run into at most ``count`` parts. The last part may be shorter.

    Args:
        steps: number of steps of the run.
        count: number of parts.
    """
    return max(1, -(-steps // count))


def decay_over(steps: int) -> float:
    """Decay of an exponential moving average over about ``steps`` steps.

    Args:
        steps: number of steps; below 1 it counts as 1.
    """
    return 1.0 - 1.0 / max(steps, 1)


def register_resolvers() -> None:
    """Register the resolvers for every configuration composed afterwards. Repeated calls have no effect."""
    OmegaConf.register_new_resolver("or", _first, replace=True)
    OmegaConf.register_new_resolver("portion", portion, replace=True)
    OmegaConf.register_new_resolver("interval", interval, replace=True)
    OmegaConf.register_new_resolver("decay_over", decay_over, replace=True)
    OmegaConf.register_new_resolver("cpu_precision", cpu_precision, replace=True)
    OmegaConf.register_new_resolver("gpu_precision", gpu_precision, replace=True)
    OmegaConf.register_new_resolver("on_cuda", on_cuda, replace=True)


def _first(*values: Any) -> Any:
    """The first argument that is not null."""
    return next((value for value in values if value is not None), None)
