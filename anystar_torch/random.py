"""Random numbers that are a function of what they are for, not of when they were drawn.

Every draw is a hash of (seed, split, sample id, effect, name of the draw, index), computed with integer tensor
operators on the device of the ids. There is no generator object and no state: a sample has the same draws in any
batch, on any rank, after any resume and on every device, and adding an effect changes no other effect's draws.

The per-sample key is 64 bits wide (the finaliser of SplitMix64, a bijection, so that different ids never share a key);
a draw hashes its index with the two halves of the key through two rounds of the 32-bit mixer ``lowbias32``
(C. Wellons, hash-prospector, 2018), a two-round Even-Mansour construction. tests/test_random.py measures its quality.
"""

import hashlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float32, Int32, Int64
from torch import Tensor

from anystar_torch.arrays import PerSample


def _signed(value: int, bits: int) -> int:
    """The two's complement reading of an unsigned constant, as torch's integer tensors want it."""
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


def _word(text: str) -> int:
    """64 bits of a name, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


@dataclass(frozen=True)
class Source:
    """The draws of a batch: one independent stream per sample.

    ``source("gamma")`` is the stream of an effect; each draw inside it carries a name of its own::

        source = Source.of(ids, seed=0, split="train")("gaussian_noise")
        applied = source.coin("applied", p=0.25)             # bool [B]
        std = source.uniform("std", 0.0, 0.1)                # float32 [B]
        field = source.normal("field", 64, 64, 64)           # float32 [B, 64, 64, 64]

    Attributes:
        root: int64 ``[B]``, one number for each (seed, split, id).
        path: the effects that led here. Everything drawn is a function of root, path and the draw's name.
    """

    root: Int64[Tensor, "b"]
    path: str = ""

    @classmethod
    def of(cls, ids: Int64[Tensor, "b"], *, seed: int, split: str) -> "Source":
        """The streams of sample ``ids`` (0 .. 2^62) of one seed and split ("train", "validation", ...)."""
        return cls(_mix64(_mix64(ids) ^ _word(f"{seed}/{split}")))

    def __call__(self, effect: str) -> "Source":
        """The sub-stream of ``effect``, independent of every other name's."""
        return Source(self.root, f"{self.path}/{effect}")

    def __getitem__(self, rows: Int64[Tensor, "n"]) -> "Source":
        """The streams of some samples of the batch."""
        return Source(self.root[rows], self.path)

    def _key(self, name: str) -> Int64[Tensor, "b"]:
        """64 bits for each sample and draw."""
        return _mix64(self.root ^ _word(f"{self.path}/{name}"))

    def bits(self, name: str, *shape: int) -> Int32[Tensor, "b *shape"]:
        """Uniform 32-bit words, ``[B, *shape]``."""
        key = self._key(name)
        view = (-1,) + (1,) * len(shape)
        low, high = key.to(torch.int32).view(view), (key >> 32).to(torch.int32).view(view)
        index = torch.arange(math.prod(shape), dtype=torch.int32, device=key.device).view(shape)
        return _mix32(_mix32(index ^ low).bitwise_xor_(high))

    def uniform_at(
        self, name: str, index: Int32[Tensor, "b *shape"], low: float, high: float
    ) -> Float32[Tensor, "b *shape"]:
        """Uniform in (low, high) as a function of ``index``: equal numbers within a sample get equal draws.

        It is how the voxels of an object find their object's draw without a table: ``index`` names the object.
        """
        key = self._key(name)
        view = (-1,) + (1,) * (index.dim() - 1)
        half, other = key.to(torch.int32).view(view), (key >> 32).to(torch.int32).view(view)
        return _open_unit(_mix32(_mix32(index ^ half).bitwise_xor_(other))) * (high - low) + low

    def uniform(
        self, name: str, low: float | PerSample, high: float | PerSample, *shape: int
    ) -> Float32[Tensor, "b *shape"]:
        """Uniform in the open interval (low, high), ``[B, *shape]``; bounds are numbers or ``[B]``."""
        unit = _open_unit(self.bits(name, *shape))
        low, high = (_lift(bound, len(shape)) for bound in (low, high))
        return unit * (high - low) + low

    def normal(self, name: str, *shape: int) -> Float32[Tensor, "b *shape"]:
        """Standard normal, ``[B, *shape]`` (Box-Muller; both numbers of a pair are used)."""
        count = math.prod(shape)
        half = (count + 1) // 2
        radius, angle = _open_unit(self.bits(name, 2, half)).unbind(1)
        radius = radius.log_().mul_(-2.0).sqrt_()
        angle = angle.mul_(2.0 * math.pi)
        pair = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return pair[:, :count].reshape(-1, *shape)

    def coin(self, name: str, p: float) -> Bool[Tensor, "b"]:
        """True with chance ``p``; exactly never at 0 and always at 1."""
        return self.uniform(name, 0.0, 1.0) < p

    def integers(self, name: str, low: int, high: int, *shape: int) -> Int64[Tensor, "b *shape"]:
        """Uniform integers in [low, high), ``[B, *shape]``; high - low at most 2^16, so the bias stays under 2^-16."""
        span = high - low
        if not 1 <= span <= 1 << 16:
            raise ValueError(f"integers in [{low}, {high}) must be 1 to 65536 values, got {span}")
        word = _shift_right(self.bits(name, *shape), 1, 32).to(torch.int64)
        return (word * span >> 31) + low


def _open_unit(bits: Int32[Tensor, "..."]) -> Float32[Tensor, "..."]:
    """The middle of one of 2^23 equal steps of (0, 1): exact in float32, and never 0 or 1."""
    return _shift_right(bits, 9, 32).to(torch.float32).add_(0.5).mul_(2.0**-23)


def _lift(bound: float | PerSample, dims: int) -> float | Tensor:
    return bound.view(-1, *(1,) * dims) if isinstance(bound, Tensor) else bound
