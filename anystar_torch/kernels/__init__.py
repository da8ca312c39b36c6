"""Kernels: one module per family, with its custom operators, their references, and the choice of implementation.

C++ for CPU tensors is in ``csrc/``, Triton for GPUs in ``triton/``. :mod:`anystar_torch.kernels.implementations`
chooses by device. A new kernel needs a reference, a C++ and a Triton implementation, and a test that compares them.
"""

from importlib import import_module
from pathlib import Path
from typing import Any


def __getattr__(name: str) -> Any:
    """The C++ module ``_native``, imported when it is first used.

    Raises:
        ImportError: the module was not built in this folder.
    """
    if name != "_native":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return import_module(f"{__name__}._native")
    except ModuleNotFoundError:
        folder = Path(__file__).resolve().parents[2]
        raise ImportError(
            f"the C++ module of anystar_torch is not built in {folder}; build it there with: pip install -e . "
            "(or start from another folder, to use an installed anystar_torch)"
        ) from None
