"""All that an app includes: its tasks, its queues, and the defaults where a task says nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskq.errors import DeclarationError
from taskq.tasks.definition import TaskDefinition
from taskq.tasks.queues import Queue
from taskq.tasks.retry import NO_RETRY, RetryPolicy
from taskq.tasks.router import Router
from taskq.tasks.task import AnyTask

DEFAULT_TIMEOUT_S = 15 * 60.0


@dataclass(slots=True)
class Registry:
    """The tasks and queues of one app. ``timeout_s`` and ``retry`` are the app's defaults."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    retry: RetryPolicy = NO_RETRY
    tasks: dict[str, AnyTask] = field(default_factory=dict[str, AnyTask])
    _queues: dict[str, Queue] = field(default_factory=dict[str, Queue])

    def include(self, router: Router[object]) -> None:
        """Take over what a router declares. Raises :class:`DeclarationError` for names that are taken."""
        self._check(router)
        self.tasks.update((task.name, task) for task in router.tasks)
        self._queues.update((queue.name, queue) for queue in router.queues)

    def _check(self, router: Router[object]) -> None:
        for task in router.tasks:
            there = self.tasks.get(task.name)
            if there is not None and there is not task:
                raise DeclarationError(
                    f"task {task.name!r} is declared twice: in {there.definition.module} and "
                    f"{task.definition.module}; give one of them another name, or their router a prefix"
                )
        for queue in router.queues:
            if self._queues.get(queue.name, queue) is not queue:
                raise DeclarationError(f"queue {queue.name!r} is described twice; describe it in one place")

    def own(self) -> dict[str, TaskDefinition]:
        """Return the definitions of the tasks that this program itself can run, by name."""
        return {name: t.definition for name, t in self.tasks.items() if t.definition.run != "remote"}

    def queue(self, name: str) -> Queue:
        """Return the queue as described, or with every default."""
        return self._queues.get(name) or Queue(name)

    def own_queues(self) -> dict[str, Queue]:
        """Return the queues that workers consume here: those of own tasks, and those with a default."""
        described = (q.name for q in self._queues.values() if q.default is not None)
        names = dict.fromkeys([*(d.queue for d in self.own().values()), *described])
        return {name: self.queue(name) for name in names}

    def check_defaults(self) -> None:
        """Raise :class:`DeclarationError` for a queue whose default is no task that this program can run."""
        own = self.own()
        for queue in self._queues.values():
            name = queue.default_task
            if name is not None and name not in own:
                known = ", ".join(own) or "none"
                raise DeclarationError(
                    f"queue {queue.name!r}: its default {name!r} is no task that this app runs (there are: {known}); "
                    "mend the name, or include the router that declares the task"
                )

    def timeout_of(self, definition: TaskDefinition) -> float:
        """Return the time limit of one attempt, in seconds."""
        return self.timeout_s if definition.timeout_s is None else definition.timeout_s

    def retry_of(self, definition: TaskDefinition) -> RetryPolicy:
        """Return the retry policy that holds for a task."""
        return self.retry if definition.retry is None else definition.retry
