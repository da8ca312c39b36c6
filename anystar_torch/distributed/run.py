"""Runs the tasks of a stage that are not done yet, in this process or on workers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from anystar_torch.distributed.progress import Bars
from anystar_torch.distributed.work_folder import Item, WorkFolder

Task = Callable[..., Item]
"""Does the work of a name, with what else it needs. It can be sent to another process."""

Call = tuple[Any, ...]
"""Arguments of a task: the name, and what else it needs."""


@runtime_checkable
class Executor(Protocol):
    """Where tasks run."""

    def results(self, task: Task, calls: Iterable[Call], queued: bool = True) -> Iterator[Item]:
        """The results of a task for some names, in the order in which they are finished.

        Args:
            task: the work.
            calls: its arguments, one tuple per name. They are taken one by one, as tasks can be started.
            queued: whether calls are also taken for tasks that start when others are finished.
        """
        ...


class ThisProcess:
    """Runs one task after the other in this process."""

    def results(self, task: Task, calls: Iterable[Call], queued: bool = True) -> Iterator[Item]:
        """The results in the order of the calls. Arguments are those of :meth:`Executor.results`."""
        for call in calls:
            yield task(*call)


@dataclass(frozen=True)
class Run:
    """How the stages of a large prediction are run.

    Attributes:
        executor: where tasks run.
        bars: shows the progress.
    """

    executor: Executor
    bars: Bars

    def stage(
        self,
        work: WorkFolder,
        stage: str,
        task: Task,
        names: Iterable[str],
        more: Callable[[str], Call] = lambda name: (),
        receive: Callable[[Item], None] | None = None,
    ) -> dict[str, Item]:
        """Run a task for all names for which there is no result, and note that the stage is complete.

        Args:
            work: where results are.
            stage: name of the stage.
            task: the work; it stores its result under the stage and the name.
            names: all names of the stage.
            more: what else the task needs for a name.
            receive: gets every result as soon as it is known. ``more`` is then called just before a task starts, so it
                can use the results of others.

        Returns:
            The results by name, in the order of the names.

        Raises:
            ValueError: a worker has stored a result where this process does not see it.
        """
        complete = work.complete(stage)
        if complete is not None:
            return complete
        wanted, items = list(names), work.found(stage)
        missing = [name for name in wanted if name not in items]
        before = len(wanted) - len(missing)
        if receive is not None:
            for item in items.values():
                receive(item)
        with self.bars.stage(stage, len(wanted)) as tick:
            tick(before)
            calls = ((name, *more(name)) for name in missing)
            results = self.executor.results(task, calls, queued=receive is None)
            for done, item in enumerate(results, before + 1):
                if not work.holds(item):
                    raise ValueError(
                        f"a worker has stored a result in {work.path}, and it is not there: all workers and the "
                        "process that started them must see one work folder under this path"
                    )
                items[item.name] = item
                if receive is not None:
                    receive(item)
                tick(done)
        ordered = {name: items[name] for name in wanted}
        work.close(stage, ordered.values())
        return ordered
