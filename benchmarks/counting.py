"""Launches and bytes of a computation on a GPU, counted on ``meta`` tensors.

Example::

    with Cost() as cost:
        targets.star_distances(labels, rays)          # labels and rays on "meta"
    cost.launches, cost.bytes

One operator that is not a view is one launch. Operators of this package, ``anystar::...``, have one device kernel
each, or what :mod:`anystar_torch.kernels.costs` says of them. Some operators of torch launch several kernels
(``sort``, ``cummax``, Fourier transforms): the count is then too low. An operator's bytes are what it reads plus what
it writes, as if no cache kept anything between two operators.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from anystar_torch.kernels.costs import COSTS

PACKAGE = str(Path(__file__).resolve().parent.parent / "anystar_torch") + "/"

# Memory is reserved, or a view is made that the schema does not declare as one.
_FREE = frozenset(
    "empty empty_like empty_strided empty_permuted new_empty new_empty_strided _unsafe_view resize_ set_".split()  # noqa: SIM905
)
# Operators that do not read the tensor they write to.
_OVERWRITE = frozenset("copy_ fill_ zero_ random_ uniform_ normal_ exponential_ bernoulli_".split())  # noqa: SIM905
# Kernels that do not change their tensors in a training step in bf16, where the factor is 1.
_UNTOUCHED = frozenset(("anystar::scale_gradients",))
# Files with helpers: their launches belong to the file that calls them.
_SHARED = frozenset(
    (
        "arrays",
        "generator/chain",
        "generator/effects/fourier",
        "generator/interpolation",
        "generator/parameters",
    )
)
DRAWS = "draws"


@dataclass(frozen=True)
class Entry:
    """One operator of one part of the program.

    Attributes:
        part: of the program, see :class:`Cost`.
        operator: for example ``aten.add.Tensor``.
    """

    part: str
    operator: str


class Cost(TorchDispatchMode):
    """Counts the launches and bytes of every operator, by the part of the program that calls it.

    A part is what :meth:`part` names or, without that, the innermost file of ``anystar_torch`` on the call stack
    that has no helpers only. All calls of the files of random numbers are the part :data:`DRAWS`.

    Attributes:
        launched: number of launches of each entry.
        moved: bytes of each entry.
    """

    def __init__(self) -> None:
        super().__init__()
        self.launched: Counter[Entry] = Counter()
        self.moved: Counter[Entry] = Counter()
        self._part: str | None = None

    @property
    def launches(self) -> int:
        """All launches."""
        return self.launched.total()

    @property
    def bytes(self) -> int:
        """All bytes, read and written."""
        return self.moved.total()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count everything inside the block under ``name``."""
        before, self._part = self._part, name
        try:
            yield
        finally:
            self._part = before

    def by_part(self) -> list[tuple[str, int, int]]:
        """Name, launches and bytes of every part, most bytes first."""
        launches, moved = Counter[str](), Counter[str]()
        for entry, count in self.launched.items():
            launches[entry.part] += count
            moved[entry.part] += self.moved[entry]
        return [(part, launches[part], size) for part, size in moved.most_common()]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        read, written = traffic(func, args, kwargs, result)
        if read + written:
            entry = Entry(self._part or _calling_part(), str(func))
            own = COSTS.get(func._schema.name)
            self.launched[entry] += own.launches if own else 1
            self.moved[entry] += read + written + (round(4 * own.volumes * _voxels(args[0])) if own else 0)
        return result


def traffic(func: Any, args: Any, kwargs: Any, result: Any) -> tuple[int, int]:
    """Bytes that an operator reads and writes; (0, 0) if it launches nothing: a view, or memory reserved.

    Args:
        func: the operator.
        args: its positional arguments.
        kwargs: its named arguments.
        result: what it returned.
    """
    schema = func._schema
    name = schema.name.partition("::")[2]
    aliases = any(output.alias_info and not output.alias_info.is_write for output in schema.returns)
    if name in _FREE or aliases:
        return 0, 0
    reads, writes = {}, {_place(tensor): tensor for tensor in _tensors(result)}
    for number, argument in enumerate(schema.arguments):
        value = args[number] if number < len(args) else kwargs.get(argument.name)
        target = argument.alias_info is not None and argument.alias_info.is_write
        if target and schema.name in _UNTOUCHED:
            continue
        for tensor in _tensors(value):
            if target:
                writes[_place(tensor)] = tensor
            if not target or not (argument.is_out or name in _OVERWRITE):
                reads[_place(tensor)] = tensor
    return sum(map(size_in_memory, reads.values())), sum(map(size_in_memory, writes.values()))


def _voxels(tensor: Tensor) -> int:
    """Voxels of all samples of a batch, without regard to channels."""
    return tensor.shape[0] * math.prod(tensor.shape[2:])


def size_in_memory(tensor: Tensor) -> int:
    """Bytes of the distinct elements of a tensor: expanded axes count once, overlapping views at most the storage."""
    if tensor.numel() == 0:
        return 0
    distinct = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        distinct *= size if stride != 0 else 1
    return min(distinct * tensor.element_size(), tensor.untyped_storage().nbytes())


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """A key that is equal for tensors of the same memory, which is read only once."""
    storage = tensor.untyped_storage()._cdata
    return storage, tensor.storage_offset(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _tensors(tree: Any) -> Iterator[Tensor]:
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _tensors(value)


def _calling_part() -> str:
    """The part whose code is running, from the call stack."""
    frame = sys._getframe(2)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(PACKAGE):
            name = path[len(PACKAGE) :].removesuffix(".py")
            if name.startswith("random/"):
                return DRAWS
            if name not in _SHARED and not name.startswith("kernels/"):
                return name
        frame = frame.f_back  # type: ignore[assignment]
    return "other"
