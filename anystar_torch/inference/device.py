"""Where the network runs: the device of a name, the precision it computes in, the memory there is."""

import os
from pathlib import Path

import torch

from anystar_torch.io.scan import available_memory
from anystar_torch.precision import multiplies_bf16


def resolve(device: str) -> torch.device:
    """The device of a name; "auto" is the best there is.

    Raises:
        ValueError: a device that torch does not know or that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place).cpu()  # "meta" has no values to give
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {device!r} cannot be used here: {str(error).splitlines()[0]}") from error
    if place.type == "cuda" and place.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return place


def precision(device: torch.device) -> torch.dtype:
    """What convolutions compute in: float16 on a GPU, bfloat16 on a CPU that multiplies matrices in it, else float32.

    float16 and not bfloat16 on the GPU: distances keep two more digits, and nothing in a normalised network comes near
    its largest number. Sigmoid, distances and everything after them are float32 everywhere.
    """
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and multiplies_bf16() else torch.float32


def free_memory(device: torch.device) -> float:
    """Bytes to plan with: most of what is free on a GPU, half of what is free in the machine."""
    if device.type == "cuda":
        return 0.8 * torch.cuda.mem_get_info(device)[0]
    return 0.5 * available_memory()


def resident() -> int:
    """Bytes of memory that this process takes now; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0
