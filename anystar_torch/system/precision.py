"""Number types that this machine computes fast in."""

import torch


def multiplies_bf16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 (AMX), which is several times faster than float32."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, so a later torch may lack it
    return supported is not None and bool(supported())
