"""All that an app includes: tasks, queues, exchanges, subscriptions, and the defaults where they say nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from taskq.errors import DeclarationError
from taskq.tasks.definition import Handler, TaskDefinition
from taskq.tasks.exchange import Exchange
from taskq.tasks.exchanges import Binding
from taskq.tasks.queues import Queue
from taskq.tasks.retry import NO_RETRY, RetryPolicy
from taskq.tasks.router import Router
from taskq.tasks.subscription import Subscription
from taskq.tasks.task import AnyTask

DEFAULT_TIMEOUT_S = 15 * 60.0


@dataclass(slots=True)
class Registry:
    """What one app declares. ``timeout_s`` and ``retry`` are the app's defaults."""

    timeout_s: float = DEFAULT_TIMEOUT_S
    retry: RetryPolicy = NO_RETRY
    tasks: dict[str, AnyTask] = field(default_factory=dict[str, AnyTask])
    exchanges: dict[str, Exchange[Any]] = field(default_factory=dict[str, Exchange[Any]])
    subscriptions: dict[str, Subscription] = field(default_factory=dict[str, Subscription])
    _queues: dict[str, Queue] = field(default_factory=dict[str, Queue])

    def include(self, router: Router[object]) -> None:
        """Take over what a router declares. Raises :class:`DeclarationError` for names that are taken."""
        self._check(router)
        self.tasks.update((task.name, task) for task in router.tasks)
        self.exchanges.update((exchange.name, exchange) for exchange in router.exchanges)
        self.subscriptions.update((each.name, each) for each in router.subscriptions)
        self._queues.update((queue.name, queue) for queue in router.queues)

    def _check(self, router: Router[object]) -> None:
        handlers: dict[str, Handler] = {name: task.definition for name, task in self.tasks.items()}
        handlers |= self.subscriptions
        for handler in [*(task.definition for task in router.tasks), *router.subscriptions]:
            there = handlers.get(handler.name)
            if there is not None and there is not handler:
                raise DeclarationError(
                    f"{_described(handler)} is declared twice: in {there.module} and {handler.module}; "
                    "give one of them another name, or their router a prefix"
                )
        for exchange in router.exchanges:
            if self.exchanges.get(exchange.name, exchange) is not exchange:
                raise DeclarationError(
                    f"exchange {exchange.name!r} is declared twice; declare it in one place, and import it from there"
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
        """Return the queues that workers consume here: of own tasks, of durable subscriptions, those with a default."""
        described = (q.name for q in self._queues.values() if q.default is not None)
        names = dict.fromkeys([*(d.queue for d in self.own().values()), *described])
        return {name: self.queue(name) for name in names} | {
            queue: self._queue_of(subscription) for queue, subscription in self.subscribed().items()
        }

    def subscribed(self) -> dict[str, Subscription]:
        """Return the durable subscriptions by their queues."""
        return {each.queue: each for each in self.subscriptions.values() if each.queue is not None}

    def temporary(self) -> dict[str, Subscription]:
        """Return the temporary subscriptions by name."""
        return {name: each for name, each in self.subscriptions.items() if each.queue is None}

    def bindings(self) -> tuple[Binding, ...]:
        """Return all bindings of durable subscriptions."""
        return tuple(binding for each in self.subscriptions.values() for binding in each.bindings)

    def _queue_of(self, subscription: Subscription) -> Queue:
        assert subscription.queue is not None
        described = self._queues.get(subscription.queue)
        return described or Queue(subscription.queue, concurrency=subscription.concurrency)

    def check(self) -> None:
        """Raise :class:`DeclarationError` for what only shows when all routers are together."""
        self._check_defaults()
        used = {task.definition.queue: f"task {name!r}" for name, task in self.tasks.items()}
        used |= {queue.name: f"default of queue {queue.name!r}" for queue in self._queues.values() if queue.default}
        for each in self.subscriptions.values():
            if each.queue is None:
                if each.name in used:
                    raise DeclarationError(f"temporary subscription {each.name!r} has the name of a queue; rename it")
                continue
            if each.queue in used:
                raise DeclarationError(
                    f"subscription {each.name!r}: its queue {each.queue!r} is that of {used[each.queue]}; every "
                    "subscription has a queue of its own"
                )
            used[each.queue] = f"subscription {each.name!r}"
            if each.concurrency is not None and each.queue in self._queues:
                raise DeclarationError(
                    f"subscription {each.name!r}: its queue is described with add_queue; say the concurrency there"
                )

    def _check_defaults(self) -> None:
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

    def timeout_of(self, definition: Handler) -> float:
        """Return the time limit of one attempt, in seconds."""
        return self.timeout_s if definition.timeout_s is None else definition.timeout_s

    def retry_of(self, definition: Handler) -> RetryPolicy:
        """Return the retry policy that holds for a task or a subscription; a temporary one has no second attempt."""
        if isinstance(definition, Subscription) and definition.queue is None:
            return NO_RETRY
        return self.retry if definition.retry is None else definition.retry


def _described(handler: Handler) -> str:
    return f"{'subscription' if isinstance(handler, Subscription) else 'task'} {handler.name!r}"
