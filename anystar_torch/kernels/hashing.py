"""Kernels of random numbers: words, uniform and normal numbers as pure functions of a sample's root and a draw's word.

The key of a draw is 64 bits wide (the finaliser of SplitMix64, a bijection, so that two ids never share a key). It
hashes its index with the two halves of the key through two rounds of the 32-bit mixer ``lowbias32`` (C. Wellons,
hash-prospector, 2018), a two-round Even-Mansour construction. tests/random/test_source.py measures its quality.

Triton: ``triton/hashing.py``. The torch operators below are the reference, and what every other device runs. Words and
uniform numbers are the same bits everywhere, normal numbers differ by rounding.
"""

import hashlib
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float32, Int32, Int64
from torch import Tensor

from anystar_torch.kernels.implementations import implementation


def name_word(text: str) -> int:
    """64 bits of a name, the same on every machine.

    Args:
        text: the name of a draw. Another text gives other random numbers.
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def roots(ids: Int64[Tensor, " b"], word: int) -> Int64[Tensor, " b"]:
    """One number for each sample.

    Args:
        ids: ``[B]``, sample ids.
        word: the word of a seed and split.
    """
    if implementation(ids.device) == "triton":
        found: Tensor = _roots(ids, word)
        return found
    return _mix64(_mix64(ids) ^ word)


def words(root: Int64[Tensor, " b"], word: int, shape: Sequence[int]) -> Int32[Tensor, "b ..."]:
    """Uniform 32-bit words, ``[B, *shape]``.

    Args:
        root: ``[B]``, see :func:`roots`.
        word: the word of the draw.
        shape: of the draw of one sample.
    """
    if implementation(root.device) == "triton":
        found: Tensor = _words(root, word, list(shape))
        return found
    low, high = _halves(root, word, len(shape))
    index = torch.arange(math.prod(shape), dtype=torch.int32, device=root.device).view(tuple(shape))
    return _mix32(_mix32(index ^ low).bitwise_xor_(high))


def uniform(
    root: Int64[Tensor, " b"], word: int, shape: Sequence[int], low: float, width: float
) -> Float32[Tensor, "b ..."]:
    """Uniform in the open interval (low, low + width), ``[B, *shape]``.

    Args:
        root: ``[B]``, see :func:`roots`.
        word: the word of the draw.
        shape: of the draw of one sample.
        low: lower bound.
        width: upper bound less lower bound.
    """
    if implementation(root.device) == "triton":
        found: Tensor = _uniform(root, word, list(shape), low, width)
        return found
    return open_unit(words(root, word, shape)) * width + low


def uniform_at(
    root: Int64[Tensor, " b"], word: int, index: Int32[Tensor, "b ..."], low: float, width: float
) -> Float32[Tensor, "b ..."]:
    """Uniform in (low, low + width) as a function of ``index``: equal numbers of a sample get equal draws.

    Args:
        root: ``[B]``, see :func:`roots`.
        word: the word of the draw.
        index: ``[B, ...]``.
        low: lower bound.
        width: upper bound less lower bound.
    """
    if implementation(root.device) == "triton":
        found: Tensor = _uniform_at(root, word, index, low, width)
        return found
    half, other = _halves(root, word, index.dim() - 1)
    return open_unit(_mix32(_mix32(index ^ half).bitwise_xor_(other))) * width + low


def normal(root: Int64[Tensor, " b"], word: int, shape: Sequence[int]) -> Float32[Tensor, "b ..."]:
    """Standard normal, ``[B, *shape]`` (Box-Muller; both numbers of a pair are used).

    Args:
        root: ``[B]``, see :func:`roots`.
        word: the word of the draw.
        shape: of the draw of one sample.
    """
    if implementation(root.device) == "triton":
        found: Tensor = _normal(root, word, list(shape))
        return found
    count = math.prod(shape)
    radius, angle = open_unit(words(root, word, (2, (count + 1) // 2))).unbind(1)
    radius = radius.log_().mul_(-2.0).sqrt_()
    angle = angle.mul_(2.0 * math.pi)
    pair = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
    return pair[:, :count].reshape(len(root), *shape)


def table(root: Int64[Tensor, " b"], columns: Sequence[Tensor], order: Callable[[], Tensor]) -> Tensor:
    """All scalar draws of a batch at once; see :class:`anystar_torch.random.draws.Slots`, which makes the arguments.

    Args:
        root: ``[B]``.
        columns: word, index, kind (0 uniform, 1 whole numbers), low, width, first column of the slot and size of the
            slot, ``[C]`` each.
        order: returns int64 ``[B * C]``, the place of each number of the result among ``[B, C]``. Triton needs none.

    Returns:
        float32 ``[B * C]``: the ``[B, n]`` draws of the first slot, then of the second, and so on.
    """
    if implementation(root.device) == "triton":
        found: Tensor = _table(root, list(columns))
        return found
    word, index, kind, low, width, _, _ = columns
    key = _mix64(root[:, None] ^ word)
    bits = _mix32(_mix32(index ^ key.to(torch.int32)).bitwise_xor_((key >> 32).to(torch.int32)))
    whole = (_shift_right(bits, 1, 32).to(torch.int64) * width.to(torch.int64)) >> 31
    drawn = torch.where(kind == 0, open_unit(bits) * width + low, whole.to(torch.float32) + low)
    return drawn.flatten().index_select(0, order())


def open_unit(bits: Int32[Tensor, "..."]) -> Float32[Tensor, "..."]:
    """The middle of one of 2^23 equal steps of (0, 1): exact in float32, and never 0 or 1.

    Args:
        bits: uniform 32-bit words, any shape; the lowest 9 bits are not used.
    """
    return _shift_right(bits, 9, 32).to(torch.float32).add_(0.5).mul_(2.0**-23)


def _halves(root: Int64[Tensor, " b"], word: int, dims: int) -> tuple[Tensor, Tensor]:
    """The two 32-bit halves of each sample's key, shaped to broadcast over ``dims`` more axes."""
    key = _mix64(root ^ word)
    view = (-1,) + (1,) * dims
    return key.to(torch.int32).view(view), (key >> 32).to(torch.int32).view(view)


def _signed(value: int, bits: int) -> int:
    """An unsigned constant as the signed integer with the same bits, which torch needs."""
    return value - (1 << bits) if value >> (bits - 1) else value


_MIX64 = (_signed(0xBF58476D1CE4E5B9, 64), _signed(0x94D049BB133111EB, 64))
_MIX32 = (_signed(0x7FEB352D, 32), _signed(0x846CA68B, 32))


def _shift_right(x: Tensor, n: int, bits: int) -> Tensor:
    """Logical shift: torch's ``>>`` copies the sign bit, which the mask removes."""
    return (x >> n).bitwise_and_((1 << (bits - n)) - 1)


def _mix64(x: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    x = (x ^ _shift_right(x, 30, 64)) * _MIX64[0]
    x = (x ^ _shift_right(x, 27, 64)) * _MIX64[1]
    return x ^ _shift_right(x, 31, 64)


def _mix32(x: Int32[Tensor, "..."]) -> Int32[Tensor, "..."]:
    """The mixer, in place on a tensor of its caller: noise fields are long, temporaries cost memory traffic."""
    x = x.bitwise_xor_(_shift_right(x, 16, 32)).mul_(_MIX32[0])
    x = x.bitwise_xor_(_shift_right(x, 15, 32)).mul_(_MIX32[1])
    return x.bitwise_xor_(_shift_right(x, 16, 32))


@torch.library.custom_op("anystar::sample_roots", mutates_args=())
def _roots(ids: Tensor, word: int) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.roots(ids.contiguous(), word)


@_roots.register_fake
def _(ids: Tensor, word: int) -> Tensor:
    return ids.new_empty(ids.shape)


@torch.library.custom_op("anystar::draw_table", mutates_args=())
def _table(root: Tensor, columns: list[Tensor]) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.table(root.contiguous(), [column.contiguous() for column in columns])


@_table.register_fake
def _(root: Tensor, columns: list[Tensor]) -> Tensor:
    return root.new_empty(root.shape[0] * columns[0].shape[0], dtype=torch.float32)


@torch.library.custom_op("anystar::hashed_words", mutates_args=())
def _words(root: Tensor, word: int, shape: list[int]) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.words(root.contiguous(), word, math.prod(shape)).view(len(root), *shape)


@_words.register_fake
def _(root: Tensor, word: int, shape: list[int]) -> Tensor:
    return root.new_empty(root.shape[0], *shape, dtype=torch.int32)


@torch.library.custom_op("anystar::hashed_uniform", mutates_args=())
def _uniform(root: Tensor, word: int, shape: list[int], low: float, width: float) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.uniform(root.contiguous(), word, math.prod(shape), low, width).view(len(root), *shape)


@_uniform.register_fake
def _(root: Tensor, word: int, shape: list[int], low: float, width: float) -> Tensor:
    return root.new_empty(root.shape[0], *shape, dtype=torch.float32)


@torch.library.custom_op("anystar::hashed_uniform_at", mutates_args=())
def _uniform_at(root: Tensor, word: int, index: Tensor, low: float, width: float) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.uniform_at(root.contiguous(), word, index.contiguous(), low, width)


@_uniform_at.register_fake
def _(root: Tensor, word: int, index: Tensor, low: float, width: float) -> Tensor:
    return index.new_empty(index.shape, dtype=torch.float32)


@torch.library.custom_op("anystar::hashed_normal", mutates_args=())
def _normal(root: Tensor, word: int, shape: list[int]) -> Tensor:
    from anystar_torch.kernels.triton import hashing as kernels

    return kernels.normal(root.contiguous(), word, math.prod(shape)).view(len(root), *shape)


@_normal.register_fake
def _(root: Tensor, word: int, shape: list[int]) -> Tensor:
    return root.new_empty(root.shape[0], *shape, dtype=torch.float32)
