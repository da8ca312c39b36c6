"""Whether memory that one step of a training, or one tile of a prediction, frees is kept for the next."""

import ctypes
import sys

#: mallopt(3): number of heaps; blocks mapped apart, their number and least size; what is given back; growth.
_ARENA_MAX, _MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD, _TOP_PAD = -8, -4, -3, -1, -2
_GROWTH = 64 << 20
_LARGE = 1 << 20


def keep_freed_memory() -> bool:
    """Have the C library keep what is freed, for the life of the process, instead of giving it back to the system.

    A step on a CPU allocates the same hundreds of megabytes over and over. By default glibc maps each large block
    anew, and the system clears it page by page when it is first touched: a fifth of the small network's step on two
    cores, a third of a large volume's prediction. The process takes about as much memory as at its peak from then on.

    Returns:
        Whether it was possible: with glibc, so on most Linux systems. Elsewhere nothing happens.
    """
    return _set({_ARENA_MAX: 1, _MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _TOP_PAD: _GROWTH})


def return_freed_memory() -> bool:
    """Have the C library give every large block back to the system when it is freed, for the life of the process.

    By default glibc raises the size from which blocks are mapped apart up to 32 MB, and smaller ones stay in heaps with
    gaps: the peak of a process then differs by a tenth from run to run, and a bound on memory cannot be kept.

    Returns:
        Whether it was possible, as for :func:`keep_freed_memory`.
    """
    return _set({_MMAP_THRESHOLD: _LARGE, _TRIM_THRESHOLD: _LARGE})


def _set(wanted: dict[int, int]) -> bool:
    """Set options of glibc's allocator; False where there is none."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all(mallopt(option, value) == 1 for option, value in wanted.items())
