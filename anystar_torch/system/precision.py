"""Number types that this machine computes fast in."""

import torch


def multiplies_bf16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 (AMX), which is several times faster than float32.

    AVX-512 BF16 does not count, although training is faster with it. In torch 2.13 on such a CPU, the gradient of a
    convolution reads memory beyond its input where the input has fewer planes than the kernel. It is NaN at times.
    """
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)  # private, so a later torch may lack it
    return supported is not None and bool(supported())
