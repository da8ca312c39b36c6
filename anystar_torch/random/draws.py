"""All scalar draws of a batch as one table: names on the host, numbers on the device.

The scalar draws of a generator have the same names, ranges and sizes in every batch. They are recorded once: the
generator runs on ``meta`` tensors, which have shapes and no data. After that one kernel computes all draws of a batch.
A draw is a view of that table. The numbers are those that each draw would hash by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Int64
from torch import Tensor

from anystar_torch.kernels.hashing import name_word, table

Kind = Literal["uniform", "integers"]
LARGEST_IN_TABLE = 256
"""Largest draw in the table, numbers per sample; a larger draw has its own kernel."""
_I32, _F32 = torch.int32, torch.float32
_COLUMN_TYPES = (torch.int64, _I32, _I32, _F32, _F32, _I32, _I32)


@dataclass(frozen=True)
class Slot:
    """One named draw.

    Attributes:
        kind: "uniform" in (low, low + width), or "integers" in [low, low + width).
        low: lower bound.
        width: upper bound less lower bound.
        shape: of the draw of one sample; () for a single number.
    """

    kind: Kind
    low: float
    width: float
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Numbers per sample."""
        return torch.Size(self.shape).numel()


@dataclass(frozen=True)
class Recording:
    """Stands in for the table while a generator runs to record what it draws."""

    slots: dict[str, Slot] = field(default_factory=dict)

    def find(self, name: str, slot: Slot) -> None:
        """Record the draw ``name``; the caller hashes the numbers itself.

        Args:
            name: path and name of the draw.
            slot: its bounds and shape.
        """
        self.slots.setdefault(name, slot)

    def __getitem__(self, rows: Tensor) -> "Recording":
        return self


@dataclass(frozen=True)
class Draws:
    """The scalar draws of a batch.

    Frozen: what is rendered from it is the same each time. It can be stored, and rendered again on another machine.

    Attributes:
        root: int64 ``[N]``, one number for each (seed, split, id) of these samples; noise fields are hashed from it.
        slots: name -> (slot, numbers per sample of all slots before it).
        numbers: float32 ``[B * C]``, the ``[B, n]`` block of one slot after the other.
        batch: number of samples in ``numbers``.
        rows: the samples of the batch that are read, int64 ``[N]``; None for all.
    """

    root: Int64[Tensor, " b"]
    slots: Mapping[str, tuple[Slot, int]]
    numbers: Tensor
    batch: int
    rows: Tensor | None = None

    def find(self, name: str, slot: Slot) -> Tensor | None:
        """The numbers ``[B, *shape]`` of a draw; None if the table has no such draw, or one with another slot.

        Args:
            name: path and name of the draw.
            slot: its bounds and shape.
        """
        there = self.slots.get(name)
        if there is None or there[0] != slot:
            return None
        start = there[1] * self.batch
        found = self.numbers[start : start + slot.size * self.batch].view(self.batch, *slot.shape)
        return found if self.rows is None else found[self.rows]

    def __getitem__(self, rows: Int64[Tensor, " n"]) -> "Draws":
        """The draws of some samples of the batch."""
        root, rows = self.root[rows], rows if self.rows is None else self.rows[rows]
        return Draws(root, self.slots, self.numbers, self.batch, rows)

    def as_dict(self) -> dict[str, list[object]]:
        """Name -> the drawn numbers of each sample, as plain values, for printing and storing."""
        named = {name: self.find(name, slot) for name, (slot, _) in self.slots.items()}
        return {name: values.tolist() for name, values in named.items() if values is not None}


class Slots:
    """The layout of a generator's table. Its constant tensors are kept on every device that used them.

    Args:
        recorded: name -> slot.
    """

    def __init__(self, recorded: Mapping[str, Slot]) -> None:
        self.places: dict[str, tuple[Slot, int]] = {}
        total = 0
        for name, slot in recorded.items():
            self.places[name] = (slot, total)
            total += slot.size
        self._columns: dict[torch.device, list[Tensor]] = {}
        self._orders: dict[torch.device, tuple[int, Tensor]] = {}  # for the batch size of the last call

    def draw(self, root: Int64[Tensor, " b"]) -> Draws:
        """The table of a batch.

        Args:
            root: ``[B]``, see :class:`anystar_torch.random.source.Source`.
        """
        device, batch = root.device, len(root)
        if not self.places:
            return Draws(root, {}, root.new_empty(0, dtype=torch.float32), batch)
        if device not in self._columns:
            self._columns[device] = [column.to(device) for column in self._host_columns()]
        numbers = table(root, self._columns[device], lambda: self._order_on(device, batch))
        return Draws(root, self.places, numbers, batch)

    def _order_on(self, device: torch.device, batch: int) -> Int64[Tensor, " n"]:
        size, order = self._orders.get(device, (None, None))
        if order is None or size != batch:
            order = self._order(batch).to(device)
            self._orders[device] = batch, order
        return order

    def _host_columns(self) -> list[Tensor]:
        """Word, index, kind, low, width, first column and size of the slot of every column, ``[C]`` each."""
        rows = [
            (name_word(name), index, slot.kind == "integers", slot.low, slot.width, start, slot.size)
            for name, (slot, start) in self.places.items()
            for index in range(slot.size)
        ]
        kinds = enumerate(_COLUMN_TYPES)
        return [torch.tensor([row[i] for row in rows], dtype=kind, device="cpu") for i, kind in kinds]

    def _order(self, batch: int) -> Int64[Tensor, " n"]:
        """Place of each number of the table among ``[B, C]``."""
        columns = sum(slot.size for slot, _ in self.places.values())
        whole = torch.arange(batch * columns, device="cpu").view(batch, columns)
        parts = [whole[:, start : start + slot.size].reshape(-1) for slot, start in self.places.values()]
        return torch.cat(parts)


def sizes(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape as a slot holds it.

    Args:
        shape: sizes of the draw of one sample; empty for a single number.
    """
    return tuple(int(n) for n in shape)
