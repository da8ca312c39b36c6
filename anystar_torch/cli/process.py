"""Settings of the process that a command runs in. They are made before the first tensor."""

import math


def set_allocator(max_memory: str | None) -> None:
    """Keep freed memory for later tensors, or return it to the system where memory is limited.

    Args:
        max_memory: the limit; None for none.
    """
    from anystar_torch.system.allocator import keep_freed_memory, return_freed_memory

    if max_memory is None:  # a third faster on a CPU; the process keeps its peak memory
        keep_freed_memory()
    else:
        return_freed_memory()


def set_threads(threads: int | None) -> None:
    """Let this process compute with a number of threads.

    Args:
        threads: at least 1; None for as many as PyTorch chooses.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def bytes_of(text: str | None) -> float | None:
    """The number of bytes that a text such as ``6GB`` means; None for None.

    Args:
        text: a positive number and KB, MB, GB or TB, in powers of 1000.

    Raises:
        ValueError: the text is not a size.
    """
    if text is None:
        return None
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    number, unit = text[:-2], text[-2:].upper()
    try:
        size = float(number) * units[unit]
    except (KeyError, ValueError):
        size = 0.0
    if not 0 < size < math.inf:
        raise ValueError(f"--max-memory must be a size such as 6GB or 800MB, got {text!r}")
    return size
