"""Every test runs with the package's shape annotations checked, on a fixed number of threads."""

import atexit
import gc
import importlib
import os
import pkgutil
import signal
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

import anystar_torch.kernels.triton

# Triton compiles the source of its functions: they are imported before the hook below would wrap them.
for module in pkgutil.iter_modules(anystar_torch.kernels.triton.__path__) if find_spec("triton") else ():
    importlib.import_module(f"anystar_torch.kernels.triton.{module.name}")

if "ANYSTAR_UNCHECKED" not in os.environ:  # by make fast, and for torch.compile, which cannot trace them
    install_import_hook("anystar_torch", "beartype.beartype")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # so are background jobs started; Ctrl-C is tested too
    signal.signal(signal.SIGINT, signal.default_int_handler)

os.environ.pop("HYDRA_FULL_ERROR", None)  # tests compare messages, and tracebacks would be added to them

WORKER = "PYTEST_XDIST_WORKER" in os.environ  # workers share the cores
torch.set_num_threads(1 if WORKER else min(2, os.cpu_count() or 1))

# The end of the process frees what was imported: nanobind reports what it cannot free. At the end of the tests, before
# that, pytest searches for garbage; the search of all modules would take seconds.
atexit.register(gc.unfreeze)

ROOT = Path(__file__).resolve().parent.parent


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without a search for garbage: modules are none, and the search takes a tenth of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()  # later searches leave them out
        gc.enable()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real volumes, reference statistics and parity cases; skips where it is absent.

    It is ``../shared``, or the folder that ANYSTAR_SHARED names. A clone has neither.
    """
    folder = Path(os.environ.get("ANYSTAR_SHARED", ROOT.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"real volumes and StarDist's stored answers are not in the repository, nor at {folder}")
    return folder
