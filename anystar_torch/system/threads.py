"""Threads of a process: how many cores it may use, and which settings the libraries read when they are loaded."""

import os

OPENMP = "OMP_NUM_THREADS"
"""Environment variable that torch and oneDNN read."""

_VARIABLES = (
    OPENMP,
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",  # NumPy
    "ZARR_THREADING__MAX_WORKERS",  # decoding and encoding of chunks
    "BLOSC_NTHREADS",
    "TIFFFILE_NUM_THREADS",
)


def usable_cores() -> int:
    """Number of cores that this process may use: those of its affinity mask, where the system has one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def shared_cores(processes: int) -> int:
    """Threads of each of several processes that share the cores of this one, at least 1.

    A number in ``OMP_NUM_THREADS`` is an upper limit.

    Args:
        processes: number of processes.
    """
    share = max(1, usable_cores() // processes)
    limit = os.environ.get(OPENMP, "")
    return min(share, int(limit)) if limit.isdecimal() and int(limit) else share


def thread_variables(threads: int) -> dict[str, str]:
    """Environment variables with which all libraries of a new process use a number of threads.

    They are PyTorch, oneDNN, BLAS, and the readers and writers of Zarr, Blosc and TIFF. The native code of this package
    uses as many threads as PyTorch.

    Args:
        threads: number of threads, at least 1.
    """
    return dict.fromkeys(_VARIABLES, str(threads))
