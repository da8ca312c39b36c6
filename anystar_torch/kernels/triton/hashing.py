"""Counter-based random numbers on a GPU: every field, and the table of all scalar draws, is one kernel.

Same words and uniform numbers as :mod:`anystar_torch.kernels.hashing` to the bit, normal numbers to rounding
(1e-6). Source:
``lowbias32`` (C. Wellons, hash-prospector, 2018) and the finaliser of SplitMix64, as described there.
"""

import triton
import triton.language as tl
from torch import Tensor, empty, empty_like, float32, int32

from anystar_torch.kernels.triton.lanes import lanes, voxels_of_program
from anystar_torch.kernels.triton.launch import Specialisation, blocks, elements, on_device_of, programs

BLOCK = lanes(1024, 1 << 15)


@triton.jit
def mix32(x):
    """The 32-bit mixer lowbias32."""
    x = x ^ (x >> 16)
    x = x * 0x7FEB352D
    x = x ^ (x >> 15)
    x = x * 0x846CA68B
    return x ^ (x >> 16)


@triton.jit
def mix64(x):
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB
    return x ^ (x >> 31)


@triton.jit
def stream(roots, row, word):
    """The 64-bit key of a sample's draw."""
    root = tl.load(roots + row)
    return mix64((root ^ word).to(tl.uint64, bitcast=True))


@triton.jit
def hashed(index, key):
    """The 32-bit word of ``index`` in the stream of a 64-bit key."""
    low = key.to(tl.uint32)
    high = (key >> 32).to(tl.uint32)
    return mix32(mix32(index.to(tl.uint32) ^ low) ^ high)


@triton.jit
def open_unit(word):
    """The middle of one of 2^23 equal intervals of (0, 1)."""
    return ((word >> 9).to(tl.float32) + 0.5) * 1.1920928955078125e-07


@triton.jit
def cos_and_sin(angle):
    """Cosine and sine of an angle in [0, 2 pi], to 1e-7.

    By quarter turns and the polynomials of S. Moshier's Cephes library (1989). Triton's own functions also reduce huge
    angles, for which they keep a table on the stack.
    """
    turns = tl.floor(angle * 0.6366197723675814 + 0.5)
    r = ((angle - turns * 1.5703125) - turns * 4.837512969970703e-4) - turns * 7.549789948768648e-8
    z = r * r
    sine = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r
    cosine = (
        ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0
    )
    quarter = turns.to(tl.int32) % 4
    odd = quarter % 2 == 1
    up, across = tl.where(odd, cosine, sine), tl.where(odd, sine, cosine)
    return tl.where((quarter == 1) | (quarter == 2), -across, across), tl.where(quarter >= 2, -up, up)


@triton.jit
def _roots(ids, out, word, count, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    key = mix64(tl.load(ids + index, mask=index < count, other=0).to(tl.uint64, bitcast=True))
    root = mix64((key.to(tl.int64, bitcast=True) ^ word).to(tl.uint64, bitcast=True))
    tl.store(out + index, root.to(tl.int64, bitcast=True), mask=index < count)


@triton.jit
def _table(
    roots, words, places, kinds, lows, widths, starts, counts, out, batch, columns, BLOCK: tl.constexpr
):
    """One row of programs per sample, one lane per column (columns: :class:`anystar_torch.random.draws.Slots`).

    Samples are the first axis of the grid, the only one that may exceed 65535: draws alone are often made of many.
    """
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = column < columns
    place = tl.load(places + column, mask=there, other=0)
    key = stream(roots, row, tl.load(words + column, mask=there, other=0))
    word = hashed(place, key)
    low = tl.load(lows + column, mask=there, other=0.0)
    width = tl.load(widths + column, mask=there, other=0.0)
    uniform = open_unit(word) * width + low
    whole = ((word >> 1).to(tl.int64) * width.to(tl.int64)) >> 31
    value = tl.where(tl.load(kinds + column, mask=there, other=0) == 0, uniform, whole.to(tl.float32) + low)
    start = tl.load(starts + column, mask=there, other=0).to(tl.int64)
    count = tl.load(counts + column, mask=there, other=0)
    tl.store(out + start * batch + row * count + place, value, mask=there)


@triton.jit
def _words(roots, out, word, count, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    found = hashed(index, stream(roots, row, word))
    tl.store(out + place, found.to(tl.int32, bitcast=True), mask=inside)


@triton.jit
def _uniform(roots, out, word, count, low, width, BLOCK: tl.constexpr):
    row, index, inside, place = voxels_of_program(count, BLOCK)
    unit = open_unit(hashed(index, stream(roots, row, word)))
    tl.store(out + place, unit * width + low, mask=inside)


@triton.jit
def _uniform_at(roots, places, out, word, count, low, width, BLOCK: tl.constexpr):
    row, _, inside, here = voxels_of_program(count, BLOCK)
    place = tl.load(places + here, mask=inside, other=0)
    unit = open_unit(hashed(place, stream(roots, row, word)))
    tl.store(out + here, unit * width + low, mask=inside)


@triton.jit
def _normal(roots, out, word, count, half, BLOCK: tl.constexpr):
    row, index, inside, _ = voxels_of_program(half, BLOCK)
    key = stream(roots, row, word)
    radius = tl.sqrt(-2.0 * tl.log(open_unit(hashed(index, key))))
    angle = open_unit(hashed(index + half, key)) * 6.283185307179586
    cosine, sine = cos_and_sin(angle)
    start = out + row * count
    tl.store(start + index, radius * cosine, mask=inside)
    tl.store(start + half + index, radius * sine, mask=half + index < count)


def roots(ids: Tensor, word: int) -> Tensor:
    """One number for each (seed, split, id): int64 ``[B]``.

    Args:
        ids: int64 ``[B]``, sample ids, contiguous.
        word: the word of a seed and split.
    """
    out = empty_like(ids)
    with on_device_of(ids):
        _roots[(blocks(len(ids), BLOCK),)](ids, out, word, len(ids), BLOCK=BLOCK, enable_fp_fusion=False)
    return out


def table(roots: Tensor, columns: list[Tensor]) -> Tensor:
    """All scalar draws of a batch, float32 ``[B * C]``, the ``[B, n]`` block of each slot after the one before.

    Args:
        roots: int64 ``[B]``, one number for each sample.
        columns: ``[C]`` each, as in :func:`anystar_torch.kernels.hashing.table`.
    """
    batch, width = len(roots), len(columns[0])
    out = empty(batch * width, dtype=float32, device=roots.device)
    with on_device_of(roots):
        _table[(batch, blocks(width, 128))](
            roots, *columns, out, batch, width, BLOCK=128, enable_fp_fusion=False
        )
    return out


def words(roots: Tensor, word: int, count: int) -> Tensor:
    """Uniform 32-bit words, int32 ``[B, count]``.

    Args:
        roots: int64 ``[B]``, one number for each sample.
        word: the word of the draw.
        count: numbers per sample.
    """
    out = empty(len(roots), count, dtype=int32, device=roots.device)
    with on_device_of(roots):
        _words[programs(len(roots), count, BLOCK)](
            roots, out, word, count, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def uniform(roots: Tensor, word: int, count: int, low: float, width: float) -> Tensor:
    """Uniform numbers in (low, low + width), float32 ``[B, count]``.

    Args:
        roots: int64 ``[B]``, one number for each sample.
        word: the word of the draw.
        count: numbers per sample.
        low: lower bound.
        width: upper bound less lower bound.
    """
    out = empty(len(roots), count, dtype=float32, device=roots.device)
    with on_device_of(roots):
        _uniform[programs(len(roots), count, BLOCK)](
            roots, out, word, count, float(low), float(width), BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def uniform_at(roots: Tensor, word: int, places: Tensor, low: float, width: float) -> Tensor:
    """Uniform numbers as a function of ``places``, contiguous int32 ``[B, ...]``; float32 of the same shape.

    Args:
        roots: int64 ``[B]``, one number for each sample.
        word: the word of the draw.
        places: int32 ``[B, ...]``, contiguous.
        low: lower bound.
        width: upper bound less lower bound.
    """
    out = empty(places.shape, dtype=float32, device=roots.device)
    count = elements(out)
    with on_device_of(roots):
        _uniform_at[programs(len(roots), count, BLOCK)](
            roots, places, out, word, count, float(low), float(width), BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


def normal(roots: Tensor, word: int, count: int) -> Tensor:
    """Standard normal numbers, float32 ``[B, count]`` (Box-Muller; both numbers of a pair are used).

    Args:
        roots: int64 ``[B]``, one number for each sample.
        word: the word of the draw.
        count: numbers per sample.
    """
    out = empty(len(roots), count, dtype=float32, device=roots.device)
    half = blocks(count, 2)
    with on_device_of(roots):
        _normal[programs(len(roots), half, BLOCK)](
            roots, out, word, count, half, BLOCK=BLOCK, enable_fp_fusion=False
        )
    return out


_STREAM = {"roots": "*i64", "word": "i64", "count": "i32"}
_RANGE = {"out": "*fp32", "low": "fp32", "width": "fp32"}
_COLUMNS = {
    "words": "*i64",
    "places": "*i32",
    "kinds": "*i32",
    "lows": "*fp32",
    "widths": "*fp32",
    "starts": "*i32",
    "counts": "*i32",
    "batch": "i32",
    "columns": "i32",
}
SPECIALISATIONS = {
    "hashing.roots": Specialisation(
        _roots, {"ids": "*i64", "out": "*i64", "word": "i64", "count": "i32"}, {"BLOCK": BLOCK}
    ),
    "hashing.table": Specialisation(_table, {"roots": "*i64", "out": "*fp32", **_COLUMNS}, {"BLOCK": 128}),
    "hashing.words": Specialisation(_words, {**_STREAM, "out": "*i32"}, {"BLOCK": BLOCK}),
    "hashing.uniform": Specialisation(_uniform, {**_STREAM, **_RANGE}, {"BLOCK": BLOCK}),
    "hashing.uniform_at": Specialisation(
        _uniform_at, {**_STREAM, **_RANGE, "places": "*i32"}, {"BLOCK": BLOCK}
    ),
    "hashing.normal": Specialisation(_normal, {**_STREAM, "out": "*fp32", "half": "i32"}, {"BLOCK": BLOCK}),
}
