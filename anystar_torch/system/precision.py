"""Number types that this machine computes fast in."""

import torch


def multiplies_bf16() -> bool:
    """Whether the CPU multiplies matrices in bfloat16 (AMX), which is several times faster than float32."""
    return _supports("_is_amx_tile_supported")


def trains_in_bf16() -> bool:
    """Whether a training step is faster in bfloat16 than in float32 on this CPU: with AMX or AVX-512 BF16.

    With AVX-512 BF16 a training step takes about half the time. Prediction asks :func:`multiplies_bf16` instead: its
    result depends on the number type.
    """
    return multiplies_bf16() or _supports("_is_avx512_bf16_supported")


def _supports(question: str) -> bool:
    """The answer of ``torch.cpu`` to a question about the processor.

    The questions are private functions of torch, so a later version may lack one; the answer is then no.
    """
    function = getattr(torch.cpu, question, None)
    return function is not None and bool(function())
