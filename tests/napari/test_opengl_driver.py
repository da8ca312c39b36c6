"""The plugin is loaded into a viewer that has loaded an OpenGL driver."""

import glob
import subprocess
import sys
from importlib.util import find_spec

import pytest

PROGRAM = """
import ctypes, os, sys

ctypes.CDLL(sys.argv[1], os.RTLD_NOW | os.RTLD_GLOBAL)  # as Mesa's driver loads it
flags = sys.getdlopenflags()
import anystar_torch.napari
import triton

assert sys.getdlopenflags() == flags
print(triton.__version__)
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_triton_is_imported_beside_the_llvm_of_a_driver():
    drivers = glob.glob("/usr/lib/*/libLLVM*.so*") + glob.glob("/usr/lib/libLLVM*.so*")
    if not drivers:
        pytest.skip("no shared LLVM is installed, as Mesa's drivers use it")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, sorted(drivers)[-1]], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
