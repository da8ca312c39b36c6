"""Copy small device tensors to the host without stalling the device."""

import torch
from jaxtyping import Shaped
from torch import Tensor


class HostCopy:
    """A copy of a device tensor on the host.

    On CUDA the copy to pinned memory is queued, and neither the device nor the host waits. :meth:`value` waits until it
    has run. Work that was queued later continues meanwhile, so the device always has work. On the CPU the copy is
    made at once. On other devices :meth:`value` copies and waits.

    Args:
        tensor: a few numbers, of any shape.
    """

    def __init__(self, tensor: Shaped[Tensor, "*shape"]) -> None:
        tensor = tensor.detach()
        self._done: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._copy.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record(torch.cuda.current_stream(tensor.device))
        else:
            self._copy = tensor.clone()

    def value(self) -> Shaped[Tensor, "*shape"]:
        """The tensor as it was when the copy was made, on the CPU."""
        if self._done is not None:
            self._done.synchronize()
        return self._copy.cpu()
