"""Tasks on the workers of a Dask cluster, and a cluster on this machine."""

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from anystar_torch.distributed.run import Call, Task
from anystar_torch.distributed.work_folder import Item
from anystar_torch.system.allocator import variables_of_workers
from anystar_torch.system.errors import last_line
from anystar_torch.system.threads import shared_cores, thread_variables

if TYPE_CHECKING:
    from distributed import Client, Future

ATTEMPTS = 3
"""How often a task may fail before the prediction ends. How often its worker may die is a setting of the scheduler."""

_QUEUED = 2  # tasks per thread of the workers that are submitted at a time

# Ctrl-C reaches all processes of a terminal. The one that was started then ends its workers.
_WITHOUT_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"


class TaskError(ValueError):
    """A task failed on all attempts, a worker died repeatedly, or the cluster was lost."""


@dataclass(frozen=True)
class Workers:
    """Runs tasks on a cluster. A task whose worker dies is repeated on another one.

    Attributes:
        client: connected to the scheduler.
    """

    client: "Client"

    def results(self, task: Task, calls: Iterable[Call], queued: bool = True) -> Iterator[Item]:
        """The results in the order in which they are finished.

        Only some tasks per worker are submitted at a time, so that the scheduler holds few of very many.

        Args:
            task: the work; it must be picklable.
            calls: its arguments, one tuple per name.
            queued: whether a worker gets its next task before it has finished one.

        Raises:
            TaskError: a task cannot be finished.
        """
        from distributed import as_completed

        rest = iter(calls)
        running = as_completed()
        pending: set[Future] = set()

        def submit() -> None:
            """Submit tasks for all workers of this moment: more of them may have joined."""
            for call in itertools.islice(rest, max(self._most_submitted(queued) - len(pending), 0)):
                new = self._submit(task, call)
                pending.add(new)
                running.add(new)

        submit()
        try:
            for future in running:
                pending.discard(future)
                yield self._result(future)
                submit()  # after the result was taken: the next call may use it
        finally:
            if pending and self.client.status == "running":
                self.client.cancel(list(pending))

    def _most_submitted(self, queued: bool) -> int:
        """Number of tasks that are submitted before one is finished."""
        try:
            threads: int = sum(self.client.nthreads().values())
        except (OSError, TimeoutError) as error:
            raise TaskError(f"the connection to the scheduler was lost ({last_line(error)})") from error
        return max(threads, 1) * (_QUEUED if queued else 1)

    def _submit(self, task: Task, call: Call) -> "Future":
        try:
            return self.client.submit(
                task, *call, key=f"{call[0]}-{uuid4().hex[:12]}", retries=ATTEMPTS - 1, pure=False
            )
        except (OSError, RuntimeError) as error:
            raise TaskError(f"the connection to the scheduler was lost ({last_line(error)})") from error

    def _result(self, future: "Future") -> Item:
        """The result of a task, or why there is none."""
        from distributed import CancelledError, KilledWorker
        from distributed.comm import CommClosedError

        name = str(future.key).rpartition("-")[0]
        try:
            item: Item = future.result()
            return item
        except KilledWorker as error:
            deaths = error.allowed_failures + 1
            raise TaskError(
                f"block {name} ended its worker {deaths} times, most often because memory was full: start fewer "
                "workers; or, because a continued run keeps its tiles, remove what is kept and begin anew with a lower "
                "max_memory"
            ) from error
        except (CancelledError, CommClosedError) as error:
            raise TaskError("the connection to the scheduler was lost") from error
        except OSError as error:
            reason = error.strerror or last_line(error)
            raise TaskError(f"block {name} failed {ATTEMPTS} times: {reason}") from error
        except (ValueError, TypeError, ImportError):
            raise  # they say what is wrong with the input
        except Exception as error:
            raise TaskError(
                f"block {name} failed {ATTEMPTS} times: {type(error).__name__}: {last_line(error)}"
            ) from error


@contextmanager
def local_workers(count: int, threads: int | None = None) -> Iterator["Client"]:
    """Start workers on this machine, one process each, while the block runs.

    Args:
        count: number of workers.
        threads: threads of each worker: of PyTorch, native code, BLAS, and readers and writers of chunks. None for an
            equal share of the cores.

    Raises:
        ImportError: dask is not installed.
    """
    distributed = _distributed()
    import dask

    variables = variables_of_workers() | thread_variables(threads or shared_cores(count))
    given = dask.config.get("distributed.worker.preload")
    loaded = [*([given] if isinstance(given, str) else given), _WITHOUT_INTERRUPTS]
    # Workers keep to their own limit (max_memory); Dask would stop them at a share of it. The port of the dashboard is
    # any that is free. Dask's own messages about workers that end would come between ours.
    with (
        _environment_of_workers(variables),
        distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            preload=loaded,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@contextmanager
def _environment_of_workers(variables: dict[str, str]) -> Iterator[None]:
    """Give environment variables to the workers that are started while the block runs, before they load libraries.

    Dask gives its own settings to workers, of which those in the environment of this process take precedence.
    """
    import dask

    name = "distributed.nanny.pre-spawn-environ"
    earlier = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        with dask.config.set({name: {**dask.config.get(name, {}), **variables}}):
            yield
    finally:
        for key, value in earlier.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def scheduler_at(address: str) -> Iterator["Client"]:
    """Connect to the scheduler of a cluster while the block runs.

    Args:
        address: such as ``tcp://host:8786``.

    Raises:
        ValueError: there is no scheduler, or it has no workers.
        ImportError: dask is not installed.
    """
    distributed = _distributed()
    with _quiet():
        try:
            client = distributed.Client(address, timeout="10s")
        except (OSError, TimeoutError, ValueError) as error:
            raise ValueError(f"no scheduler answers at {address}: {last_line(error)}") from error
        with client:
            if not client.nthreads():
                raise ValueError(f"the scheduler at {address} has no workers; start some first")
            yield client


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out Dask's own messages, of which a lost connection gives many, while the block runs."""
    handlers = logging.getLogger("distributed").handlers
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)


def _distributed() -> Any:
    """The library."""
    try:
        import distributed
    except ImportError as error:
        raise ImportError("workers need an extra package: pip install 'anystar_torch[cluster]'") from error
    return distributed
