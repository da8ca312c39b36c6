"""What a config may compute.

``${or:a,b}``, ``${portion:steps,share}``, ``${decay_over:steps}``, ``${cpu_precision:}``, and what depends on a device:
``${gpu_precision:ACCELERATOR}`` and ``${on_cuda:ACCELERATOR}`` take the name Lightning has for it.
"""

from typing import Any

import torch
from omegaconf import OmegaConf

from anystar_torch.system.precision import multiplies_bf16


def cpu_precision() -> str:
    """The precision Lightning should train in on this CPU: bf16 where matrices are multiplied in it (AMX)."""
    return "bf16-mixed" if multiplies_bf16() else "32-true"


def on_cuda(accelerator: str) -> bool:
    """Whether Lightning's ``accelerator`` ("auto", "gpu", "cuda", "cpu", ...) means a CUDA device on this machine."""
    return accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()


def gpu_precision(accelerator: str) -> str:
    """The precision Lightning should train in: bf16 on GPUs that compute in it, fp16 on older ones.

    Without a CUDA device it is that of the CPU, and float32 on other accelerators.
    """
    if on_cuda(accelerator):
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "16-mixed"
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        return cpu_precision()
    return "32-true"


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
    OmegaConf.register_new_resolver("gpu_precision", gpu_precision, replace=True)
    OmegaConf.register_new_resolver("on_cuda", on_cuda, replace=True)


def _first(*values: Any) -> Any:
    """The first of its arguments that is not null."""
    return next((value for value in values if value is not None), None)
