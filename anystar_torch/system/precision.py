"""Which precision this machine computes in."""

import torch


def multiplies_bf16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 (AMX): several times faster than in float32."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, so it may be absent one day
    return supported is not None and bool(supported())
