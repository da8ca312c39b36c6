"""Counter-based random numbers on a GPU: hashed words, uniform and normal fields, each one kernel.

Same integers as :mod:`anystar_torch.random` to the bit; uniform numbers too; normal numbers to rounding.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, float32, int32

from anystar_torch.kernels.launch import Specialisation, blocks, on_device_of

BLOCK = 1024


@triton.jit
def mix32(x):
    """The 32-bit mixer lowbias32 (C. Wellons, hash-prospector, 2018)."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def hashed(index, key):
    """The 32-bit word of ``index`` in the stream of a 64-bit key."""
    low = key.to(tl.uint32)
    high = (key >> 32).to(tl.uint32)
    return mix32(mix32(index.to(tl.uint32) ^ low) ^ high)


@triton.jit
def open_unit(word):
    """The middle of one of 2^23 equal steps of (0, 1)."""
    return ((word >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07


@triton.jit
def _words(keys, out, count, BLOCK: tl.constexpr):
    row = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + row).to(tl.uint64, bitcast=True)
    word = hashed(index, key)
    tl.store(out + row * count + index, word.to(tl.int32, bitcast=True), mask=index < count)


@triton.jit
def _uniform(keys, out, count, low, width, BLOCK: tl.constexpr):
    row = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + row).to(tl.uint64, bitcast=True)
    tl.store(out + row * count + index, open_unit(hashed(index, key)) * width + low, mask=index < count)


@triton.jit
def _uniform_at(keys, places, out, count, low, width, BLOCK: tl.constexpr):
    row = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + row).to(tl.uint64, bitcast=True)
    place = tl.load(places + row * count + index, mask=index < count, other=0)
    tl.store(out + row * count + index, open_unit(hashed(place, key)) * width + low, mask=index < count)


@triton.jit
def _normal(keys, out, count, half, BLOCK: tl.constexpr):
    row = tl.program_id(1).to(tl.int64)
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = tl.load(keys + row).to(tl.uint64, bitcast=True)
    radius = tl.sqrt(-2.0 * tl.log(open_unit(hashed(index, key))))
    angle = open_unit(hashed(index + half, key)) * 6.283185307179586
    start = out + row * count
    tl.store(start + index, radius * tl.cos(angle), mask=index < half)
    tl.store(start + half + index, radius * tl.sin(angle), mask=half + index < count)


def words(keys: Tensor, count: int) -> Tensor:
    """Uniform 32-bit words ``[B, count]`` of the streams ``keys`` int64 ``[B]``."""
    out = empty(len(keys), count, dtype=int32, device=keys.device)
    with on_device_of(keys):
        _words[(blocks(count, BLOCK), len(keys))](keys, out, count, BLOCK=BLOCK)
    return out


def uniform(keys: Tensor, count: int, low: float, width: float) -> Tensor:
    """Uniform numbers in (low, low + width), float32 ``[B, count]``."""
    out = empty(len(keys), count, dtype=float32, device=keys.device)
    with on_device_of(keys):
        _uniform[(blocks(count, BLOCK), len(keys))](
            keys, out, count, low, width, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def uniform_at(keys: Tensor, places: Tensor, low: float, width: float) -> Tensor:
    """Uniform numbers as a function of ``places``, contiguous int32 ``[B, ...]``; float32 of the same shape."""
    out = empty(places.shape, dtype=float32, device=keys.device)
    count = out[0].numel()
    with on_device_of(keys):
        _uniform_at[(blocks(count, BLOCK), len(keys))](
            keys, places, out, count, low, width, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def normal(keys: Tensor, count: int) -> Tensor:
    """Standard normal numbers ``[B, count]`` (Box-Muller; both numbers of a pair are used)."""
    out = empty(len(keys), count, dtype=float32, device=keys.device)
    half = (count + 1) // 2
    with on_device_of(keys):
        _normal[(blocks(half, BLOCK), len(keys))](keys, out, count, half, BLOCK=BLOCK)
    return out


_STREAM = {"keys": "*i64", "count": "i32"}
SPECIALISATIONS = {
    "hashing.words": Specialisation(_words, {**_STREAM, "out": "*i32"}, {"BLOCK": BLOCK}),
    "hashing.uniform": Specialisation(
        _uniform, {**_STREAM, "out": "*fp32", "low": "fp32", "width": "fp32"}, {"BLOCK": BLOCK}
    ),
    "hashing.uniform_at": Specialisation(
        _uniform_at,
        {**_STREAM, "places": "*i32", "out": "*fp32", "low": "fp32", "width": "fp32"},
        {"BLOCK": BLOCK},
    ),
    "hashing.normal": Specialisation(_normal, {**_STREAM, "out": "*fp32", "half": "i32"}, {"BLOCK": BLOCK}),
}
