"""Settings of the C library's allocator: whether freed memory is kept for the next step or tile."""

import ctypes
import sys

#: Options of mallopt(3): number of heaps, number and smallest size of mapped blocks, size to give back, growth.
_ARENA_MAX, _MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -8, -4, -3, -1, -2
_GROWTH = 64 << 20
_LARGE = 1 << 20
_SMALL, _KEPT = 32 << 20, 128 << 20


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, from now on until it ends.

    Every step on a CPU allocates the same hundreds of megabytes. By default glibc maps each large block again, and the
    system clears it page by page. That takes a fifth of a training step of the small network on two cores, and a third
    of the prediction of a large volume. Afterwards the process keeps about its peak memory.

    Returns:
        Whether the setting was made. It needs glibc, which most Linux systems have.
    """
    return _set({_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _GROWTH})


def return_freed_memory() -> bool:
    """Give every large block back to the system when it is freed, from now on until the process ends.

    By default glibc maps only blocks above a size that it raises up to 32 MB. Smaller blocks leave gaps in its heaps,
    so the peak memory varies by a tenth from run to run and a memory limit cannot be kept.

    Returns:
        Whether the setting was made, as for :func:`keep_freed_memory`.
    """
    return _set({_MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


def variables_of_workers() -> dict[str, str]:
    """Environment variables with which a new process keeps small freed blocks, and gives large ones back to the system.

    Pieces of a tile have tensors of the same few sizes, below 32 MB. Their memory is used again, up to 128 MB that are
    free, and the system need not clear it every time. Without these variables, Dask's workers return all of it.
    """
    return {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_THRESHOLD_": str(_SMALL),
        "MALLOC_TRIM_THRESHOLD_": str(_KEPT),
    }


def _set(wanted: dict[int, int]) -> bool:
    """Set options of glibc's allocator. False where the system has another one."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, value) == 1 for option, value in wanted.items())
