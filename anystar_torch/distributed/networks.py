"""Networks that this process has: one that was provided, or the last one that it loaded for a task."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from anystar_torch.inference.tile_network import TileNetwork
from anystar_torch.network import weights
from anystar_torch.network.stardist import StarDist
from anystar_torch.network.weights import ModelConfig
from anystar_torch.system.device import resolve

if TYPE_CHECKING:
    from anystar_torch.distributed.job import Job

_Value = TypeVar("_Value")

_provided: dict[Path, tuple[TileNetwork, ModelConfig]] = {}

# The last model that this process loaded, and its network on a device. The process that starts a prediction on workers
# needs the first one alone, so its machine need not have their device.
_models: dict[str, tuple[StarDist, ModelConfig]] = {}
_networks: dict[Any, TileNetwork] = {}
_lock = threading.Lock()  # a worker may run several tasks at a time


def provide(job: "Job", tile_network: TileNetwork, config: ModelConfig) -> None:
    """Let tasks of this process use a network that is loaded already, until :func:`withdraw`.

    Args:
        job: whose tasks use it, and those of other jobs with its work folder.
        tile_network: the network.
        config: its configuration.
    """
    _provided[job.model] = tile_network, config


def withdraw(job: "Job") -> None:
    """Forget a network that was provided.

    Args:
        job: it was provided for.
    """
    _provided.pop(job.model, None)


def model_of(job: "Job") -> tuple[StarDist, ModelConfig]:
    """The network of a job, on any device, and its configuration.

    Args:
        job: the prediction.

    Raises:
        ValueError: the folder of the network cannot be read.
    """
    if (given := _provided.get(job.model)) is not None:
        return given[0].network, given[1]
    return _kept(_models, job.identity, lambda: weights.load(job.model))


def network_of(job: "Job") -> TileNetwork:
    """The network of a job on the device of this process, which gets the threads of the job.

    Args:
        job: the prediction.

    Raises:
        ValueError: the folder of the network cannot be read, or there is no such device.
    """
    threads = job.machine.threads
    if threads is not None and threads != torch.get_num_threads():
        torch.set_num_threads(threads)
    if (given := _provided.get(job.model)) is not None:
        return given[0]
    return _kept(_networks, _key(job), lambda: _loaded(job))


def _loaded(job: "Job") -> TileNetwork:
    network, config = weights.load(job.model)
    device = resolve(_own_device(job.machine.device))
    return TileNetwork(
        network.to(device),
        device,
        tta=job.options.tta,
        chosen_precision=job.options.tiles.precision,
        receptive_field=config.receptive_field,
        smallest_tile=config.smallest_tile,
    )


def _kept(known: dict[Any, _Value], key: Any, make: Callable[[], _Value]) -> _Value:
    """A value that is made once, and kept in place of all others: a process that lives long collects no networks."""
    with _lock:
        if key not in known:
            made = make()
            known.clear()
            known[key] = made
        return known[key]


def _key(job: "Job") -> tuple[str, str, bool, str]:
    return job.identity, job.machine.device, job.options.tta, str(job.options.tiles.precision)


def _own_device(device: str) -> str:
    """The device of this process: of several GPUs of a machine, each worker takes its own."""
    count = torch.cuda.device_count() if device in ("auto", "cuda") else 0
    if count < 2:
        return device
    from distributed import get_worker

    try:
        name = str(get_worker().name)
    except ValueError:  # not in a worker
        return device
    return f"cuda:{int(name) % count}" if name.isdecimal() else device
