"""Proof, without an accelerator, that code would run on one: no host synchronisation, no stray CPU tensor.

``meta`` tensors have no data, so what reads data on the host raises by itself; but not everything that would
stall or fail on CUDA does. :class:`Residency` watches every dispatched operator and fails on the rest::

    with Residency("meta") as mode:
        targets.star_distances(labels, rays)
    assert mode.count == expected

Custom operators of this package that have a device kernel pass; those that only have a native CPU one do not.

It also runs with ``device="cpu"``, where every rule holds but the one on CPU tensors.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# operators whose CUDA implementation waits for a result on the host: a size or a value depends on data
_SYNCHRONISE = frozenset(
    """_local_scalar_dense item is_nonzero equal allclose nonzero nonzero_numpy argwhere masked_select isin
    unique_consecutive unique_dim unique_dim_consecutive _unique _unique2 bincount histc multinomial
    _histogramdd_bin_edges _histogramdd_from_bin_cts _histogramdd_from_bin_tensors cholesky cholesky_inverse
    cholesky_solve inverse geqrf ormqr triangular_solve _ctc_loss to_sparse _to_sparse""".split()  # noqa: SIM905
)
# the rest of linalg goes through MAGMA or cuSOLVER, which read error codes back
_LINALG_ON_DEVICE = frozenset(("linalg_vector_norm", "linalg_cross", "linalg_vecdot", "linalg_diagonal"))
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")
# Python functions that move data between host and device below what a dispatch mode can see
_HOST_DATA: dict[Any, str] = {
    torch.tensor: "torch.tensor",
    torch.as_tensor: "torch.as_tensor",
    torch.asarray: "torch.asarray",
    torch.frombuffer: "torch.frombuffer",
    torch.Tensor.new_tensor: "Tensor.new_tensor",
    torch.Tensor.tolist: "Tensor.tolist",
    torch.Tensor.numpy: "Tensor.numpy",
    torch.Tensor.__array__: "Tensor.__array__",
}
# custom operators without a device kernel; every other one of the package has one
_NATIVE_ONLY = frozenset(("anystar::nms", "anystar::render_labels"))


class ResidencyError(AssertionError):
    """An operation that would stall or fail on an accelerator."""


class Residency(TorchDispatchMode):
    """Raises an error at operations that must not run on the training device, and counts operators.

    Refused are:

    - operators outside of ``aten``, except those of this package with a device kernel, on ``meta``;
    - operators that synchronise, such as boolean masks as indices;
    - tensors on any other device, as arguments or results, and so every copy between devices;
    - constants uploaded from the host (``torch.tensor(..., device=...)``, lists as indices): CUDA waits for each;
    - draws from the global generator or from one of another device.

    Args:
        device: where everything has to live.
        allow: names (``"anystar::nms"``, ``"torch.tensor"``) that pass, each with the reason why it may.
            Operators of neither ``aten`` nor a device kernel of this package never pass on ``meta``: there is no data
            to hand to a native kernel.
        host: whether operators that see CPU tensors alone pass, as logging does with figures that are on the host
            already. Between host and device nothing passes either way.

    Attributes:
        count: operators dispatched so far.
        operators: the same by name.
    """

    def __init__(
        self,
        device: torch.device | str = "meta",
        allow: Mapping[str, str] | None = None,
        host: bool = False,
    ) -> None:
        super().__init__()
        self.device = torch.device(device)
        self.host = host
        self.allow = dict(allow or {})
        if not all(reason.strip() for reason in self.allow.values()):
            raise ValueError("every allowed name needs a reason")
        self.operators: Counter[str] = Counter()
        self._functions = _HostData(self.allow, host)

    @property
    def count(self) -> int:
        return self.operators.total()

    def __enter__(self) -> "Residency":
        self._functions.__enter__()
        return super().__enter__()

    def __exit__(self, *exc: Any) -> None:
        super().__exit__(*exc)
        self._functions.__exit__(*exc)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        if self.host and _on_host((args, kwargs)):
            return func(*args, **kwargs)
        self.operators[str(func)] += 1
        if not _has_kernel(name) and (self.device.type == "meta" or name not in self.allow):
            raise ResidencyError(f"{name} is not an aten operator")
        if name in self.allow:
            return func(*args, **kwargs)
        self._check_operator(func, name.removeprefix("aten::"), args, kwargs)
        self._check_devices(f"{name} reads", (args, kwargs))
        result = func(*args, **kwargs)
        self._check_devices(f"{name} writes", result)
        return result

    def _check_operator(self, func: Any, name: str, args: Any, kwargs: Any) -> None:
        linalg = name.startswith(("linalg_", "_linalg_")) and name not in _LINALG_ON_DEVICE
        if name in _SYNCHRONISE or linalg:
            raise ResidencyError(f"aten::{name} synchronises with the host")
        if name == "repeat_interleave" and kwargs.get("output_size") is None:
            raise ResidencyError("aten::repeat_interleave synchronises unless output_size is given")
        indices = _leaves(args[1], torch.Tensor) if name in _INDEXING else ()
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            raise ResidencyError(f"aten::{name} with a boolean mask synchronises with the host")
        generators = list(_leaves((args, kwargs), torch.Generator))
        if any(generator.device.type != self.device.type for generator in generators):
            raise ResidencyError(f"aten::{name} draws from a generator of another device")
        if torch.Tag.nondeterministic_seeded in func.tags and not generators:
            raise ResidencyError(f"aten::{name} draws from the global generator")

    def _check_devices(self, what: str, tree: Any) -> None:
        for tensor in _leaves(tree, torch.Tensor):
            if tensor.device.type != self.device.type and tensor.numel() > 0:
                shape = tuple(tensor.shape)
                raise ResidencyError(f"{what} {shape} on {tensor.device}, not on {self.device}")
        for device in _leaves(tree, torch.device):
            if device.type != self.device.type:
                raise ResidencyError(f"{what} the order to work on {device}, not on {self.device}")


def _has_kernel(name: str) -> bool:
    """Whether an operator runs on a device: torch's own, and those of this package that are not native alone."""
    return name.startswith("aten::") or (name.startswith("anystar::") and name not in _NATIVE_ONLY)


class _HostData(TorchFunctionMode):
    """Refuses the Python functions that read or upload data without dispatching an operator for it."""

    def __init__(self, allow: Mapping[str, str], host: bool) -> None:
        super().__init__()
        self.allow, self.host = allow, host

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _HOST_DATA.get(func)
        device = (kwargs or {}).get("device")
        if self.host and _on_host((args, kwargs)) and torch.device(device or "cpu").type == "cpu":
            name = None
        if name is not None and name not in self.allow:
            raise ResidencyError(f"{name} moves data between host and device")
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            indices = args[1] if isinstance(args[1], tuple) else (args[1],)
            if not all(i is None or isinstance(i, int | slice | torch.Tensor | type(...)) for i in indices):
                raise ResidencyError("an index that is a list or an array is uploaded from the host")
        return func(*args, **(kwargs or {}))


def _on_host(tree: Any) -> bool:
    """Whether all tensors and devices among the arguments are of the CPU, which they also are by default."""
    devices = [*_leaves(tree, torch.device), *(tensor.device for tensor in _leaves(tree, torch.Tensor))]
    return all(device.type == "cpu" for device in devices)


def _leaves(tree: Any, kind: type) -> Iterator[Any]:
    if isinstance(tree, kind):
        yield tree
    elif isinstance(tree, dict):
        for value in tree.values():
            yield from _leaves(value, kind)
    elif isinstance(tree, tuple | list):
        for value in tree:
            yield from _leaves(value, kind)
