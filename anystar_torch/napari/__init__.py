"""The napari plugin: segment a volume, set its thresholds by sight, correct it.

State and work are in modules without Qt; the widgets of :mod:`anystar_torch.napari.views` only show it.
"""

import importlib
import os
import sys
from contextlib import suppress


def _import_triton() -> None:
    """Import Triton, where it is installed, so that it uses the LLVM that it contains.

    torch imports it sooner or later. The viewer has then loaded the OpenGL driver. Mesa's driver gives the symbols of
    its own LLVM to the whole process, and Triton would crash with them.
    """
    if "triton" in sys.modules or not hasattr(os, "RTLD_DEEPBIND"):  # of Linux
        return
    flags = sys.getdlopenflags()
    sys.setdlopenflags(flags | os.RTLD_DEEPBIND)
    try:
        with suppress(ImportError):
            importlib.import_module("triton")
    finally:
        sys.setdlopenflags(flags)


_import_triton()
