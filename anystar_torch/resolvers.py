"""What a config may compute: ``${or:a,b}`` and ``${cpu_precision:}``."""

import torch
from omegaconf import OmegaConf


def cpu_precision() -> str:
    """The precision Lightning should train in on this CPU: bf16 where matrices are multiplied in it (AMX)."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, so it may be absent one day
    return "bf16-mixed" if supported is not None and supported() else "32-true"


def register_resolvers() -> None:
    """Makes them known to every config composed afterwards; may be called more than once."""
    OmegaConf.register_new_resolver("or", lambda first, second: first or second, replace=True)
    OmegaConf.register_new_resolver("cpu_precision", cpu_precision, replace=True)
