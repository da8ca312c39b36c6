"""Settings of the process that a command runs in. They are made before the first tensor."""


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
