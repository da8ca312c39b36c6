"""Prediction of volumes beyond memory: the stages of a prediction, block by block, in one process or on a Dask cluster.

:func:`predict` is the entry. The labels are those of a prediction in memory with the same tiles. They do not depend
on the size of the blocks, the number of workers or the order of their work.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anystar_torch.distributed.large import predict as predict
    from anystar_torch.distributed.options import LargeOptions as LargeOptions

_PLACES = {
    "LargeOptions": "anystar_torch.distributed.options",
    "predict": "anystar_torch.distributed.large",
}

__all__ = ["LargeOptions", "predict"]


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'anystar_torch.distributed' has no attribute {name!r}")
