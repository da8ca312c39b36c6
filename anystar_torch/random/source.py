"""Random numbers that are a function of what they are for, not of when they were drawn.

Every draw is a hash of (seed, split, sample id, effect, name of the draw, index), computed on the device of the ids
(:mod:`anystar_torch.kernels.hashing`). There is no generator object and no state. A sample has the same draws in any
batch, on any rank, after any resume and on every device. Adding an effect changes no draw of another effect.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float32, Int32, Int64, Shaped
from torch import Tensor

from anystar_torch.arrays import PerSample
from anystar_torch.kernels import hashing
from anystar_torch.kernels.hashing import name_word
from anystar_torch.random.draws import LARGEST_IN_TABLE, Draws, Recording, Slot, sizes

_WHOLE = (
    *(torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint8, torch.uint16, torch.uint32, torch.uint64),
)


@dataclass(frozen=True)
class Source:
    """The draws of a batch: one independent stream per sample.

    ``source("gamma")`` is the stream of an effect. Each draw inside of it has its own name. Names and paths of streams
    are hashed: another name gives other numbers.

    Attributes:
        root: int64 ``[B]``, one number for each (seed, split, id).
        path: names of the enclosing effects. A draw is a function of root, path and the draw's name.
        draws: the table of scalar draws, where one was made. A draw that is in the table is a view of it.

    Examples:
        >>> import torch
        >>> ids = torch.tensor([7, 8, 9])
        >>> source = Source.of(ids, seed=0, split="train")("gaussian_noise")
        >>> source.coin("applied", p=0.25).shape, source.uniform("std", 0.0, 0.1).shape
        (torch.Size([3]), torch.Size([3]))
        >>> alone = Source.of(ids[1:2], seed=0, split="train")("gaussian_noise")
        >>> torch.equal(source.normal("field", 8, 8, 8)[1:2], alone.normal("field", 8, 8, 8))
        True
    """

    root: Int64[Tensor, " b"]
    path: str = ""
    draws: Draws | Recording | None = None

    @classmethod
    def of(cls, ids: Shaped[Tensor, "..."], *, seed: int, split: str) -> "Source":
        """The streams of samples.

        Args:
            ids: ``[B]``, whole numbers from 0 to 2^62, of any integer type.
            seed: of the data set.
            split: "train", "validation", or another name.

        Raises:
            TypeError: ``ids`` are no whole numbers.
            ValueError: ``ids`` have another shape.
        """
        if ids.dtype not in _WHOLE:
            raise TypeError(f"ids must be whole numbers (torch.int64), got {ids.dtype}")
        if ids.ndim != 1:
            raise ValueError(
                f"ids must be [B], one number for each sample, got {list(ids.shape)}; use ids.reshape(-1)"
            )
        return cls(hashing.roots(ids.to(torch.int64), name_word(f"{seed}/{split}")))

    @classmethod
    def of_draws(cls, draws: Draws) -> "Source":
        """The streams that the draws of a batch were made from.

        Args:
            draws: the table of a batch.
        """
        return cls(draws.root, "", draws)

    def with_draws(self, draws: Draws | Recording) -> "Source":
        """The same streams with a table of scalar draws.

        Args:
            draws: the table of the same samples, or a recording.
        """
        return replace(self, draws=draws)

    def __call__(self, effect: str) -> "Source":
        """The sub-stream of ``effect``, independent of every other name's."""
        return Source(self.root, f"{self.path}/{effect}", self.draws)

    def __getitem__(self, rows: Int64[Tensor, " n"]) -> "Source":
        """The streams of some samples of the batch."""
        return Source(self.root[rows], self.path, None if self.draws is None else self.draws[rows])

    def bits(self, name: str, *shape: int) -> Int32[Tensor, " b *shape"]:
        """Uniform 32-bit words, ``[B, *shape]``.

        Args:
            name: of the draw.
            shape: of the draw of one sample.
        """
        return hashing.words(self.root, self._word(name), shape)

    def uniform_at(
        self, name: str, index: Int32[Tensor, " b *shape"], low: float, high: float
    ) -> Float32[Tensor, " b *shape"]:
        """Uniform in (low, high) as a function of ``index``: equal numbers within a sample get equal draws.

        So the voxels of an object find the draw of their object without a table: ``index`` names the object.

        Args:
            name: of the draw.
            index: ``[B, *shape]``.
            low: lower bound.
            high: upper bound.
        """
        return hashing.uniform_at(self.root, self._word(name), index, low, high - low)

    def uniform(
        self, name: str, low: float | PerSample, high: float | PerSample, *shape: int
    ) -> Float32[Tensor, " b *shape"]:
        """Uniform in the open interval (low, high), ``[B, *shape]``.

        Args:
            name: of the draw.
            low: lower bound, a number or ``[B]``.
            high: upper bound, a number or ``[B]``.
            shape: of the draw of one sample.
        """
        if isinstance(low, Tensor) or isinstance(high, Tensor):
            unit = self.uniform(name, 0.0, 1.0, *shape)
            low, high = (_lift(bound, len(shape)) for bound in (low, high))
            return unit * (high - low) + low
        found = self._in_table(name, Slot("uniform", low, high - low, sizes(shape)))
        if found is not None:
            return found
        return hashing.uniform(self.root, self._word(name), shape, low, high - low)

    def normal(self, name: str, *shape: int) -> Float32[Tensor, " b *shape"]:
        """Standard normal, ``[B, *shape]``.

        Args:
            name: of the draw.
            shape: of the draw of one sample.
        """
        return hashing.normal(self.root, self._word(name), shape)

    def coin(self, name: str, p: float) -> Bool[Tensor, " b"]:
        """True with chance ``p``, ``[B]``; never at 0 and always at 1.

        Args:
            name: of the draw.
            p: the chance.
        """
        return self.uniform(name, 0.0, 1.0) < p

    def integers(self, name: str, low: int, high: int, *shape: int) -> Int64[Tensor, " b *shape"]:
        """Uniform integers in [low, high), ``[B, *shape]``.

        Args:
            name: of the draw.
            low: least integer.
            high: largest integer plus 1; at most 2^16 more than ``low``, so that the bias stays under 2^-16.
            shape: of the draw of one sample.

        Raises:
            ValueError: fewer than 1 or more than 2^16 integers.
        """
        span = high - low
        if not 1 <= span <= 1 << 16:
            raise ValueError(f"integers in [{low}, {high}) must be 1 to 65536 values, got {span}")
        found = self._in_table(name, Slot("integers", float(low), float(span), sizes(shape)))
        if found is not None:
            return found.to(torch.int64)
        word = (self.bits(name, *shape) >> 1).bitwise_and_((1 << 31) - 1).to(torch.int64)
        return (word * span >> 31) + low

    def _in_table(self, name: str, slot: Slot) -> Tensor | None:
        if self.draws is None or math.prod(slot.shape) > LARGEST_IN_TABLE:
            return None
        return self.draws.find(f"{self.path}/{name}", slot)

    def _word(self, name: str) -> int:
        """64 bits for each draw."""
        return name_word(f"{self.path}/{name}")


def _lift(bound: float | PerSample, dims: int) -> float | Tensor:
    return bound.view(-1, *(1,) * dims) if isinstance(bound, Tensor) else bound
