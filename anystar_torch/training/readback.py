"""Small device tensors read on the host without stalling the device."""

import torch
from torch import Tensor


class HostCopy:
    """A copy of a device tensor on the host.

    On CUDA the copy goes to pinned memory and is only queued: neither the device nor the host waits when it is made.
    :meth:`value` waits until everything queued before the copy has run, which usually has happened by then; work that
    was queued later goes on meanwhile, so the device never runs dry. On the CPU the copy is made at once. On other
    devices :meth:`value` copies and waits.

    Args:
        tensor: a few numbers, of any shape.
    """

    def __init__(self, tensor: Tensor) -> None:
        tensor = tensor.detach()
        self._done: torch.cuda.Event | None = None
        if tensor.device.type == "cuda":
            self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._copy.copy_(tensor, non_blocking=True)
            self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._done.record(torch.cuda.current_stream(tensor.device))
        else:
            self._copy = tensor.clone()

    def value(self) -> Tensor:
        """The tensor as it was when the copy was made, on the CPU."""
        if self._done is not None:
            self._done.synchronize()
        return self._copy.cpu()
