"""Publishes that wait, in order.

Those whose callers have given up stay until they are found: when they are next, at the next look for deadlines, or when
there may be as many of them as of the others. So a backlog has about twice what is waited for at most, in number and in
bytes, and each costs few looks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from taskq.broker.amqp.outbox import Publish

_FEWEST = 64
_FEWEST_BYTES = 1 << 20


class Backlog:
    """A queue of publishes. ``left`` is told of each that is found given up or overdue, which is not handed out."""

    def __init__(self, left: Callable[[Publish], None] = lambda publish: None) -> None:
        self._left = left
        self._waiting: deque[Publish] = deque()
        self._bytes = 0
        self._most = _FEWEST
        self._most_bytes = _FEWEST_BYTES

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Publish]:
        return iter(self._waiting)

    @property
    def next(self) -> Publish | None:
        """The one to be taken next, if there is one."""
        waiting = self._waiting
        while waiting and waiting[0].confirmed.done():
            self._left(self.take())
        return waiting[0] if waiting else None

    def append(self, publish: Publish) -> None:
        """Let a publish wait behind all others."""
        self._waiting.append(publish)
        self._bytes += publish.size
        if len(self._waiting) > self._most or self._bytes > self._most_bytes:
            self.look()

    def put_back(self, publishes: Iterable[Publish]) -> None:
        """Let publishes wait before all others, in their order."""
        self._replace([*publishes, *self._waiting])

    def take(self) -> Publish:
        """Return the one that is next, and forget it."""
        publish = self._waiting.popleft()
        self._bytes -= publish.size
        return publish

    def take_all(self, exchange: str | None = None) -> list[Publish]:
        """Return all of them, or those for one exchange, in their order, and forget them."""
        self.look()
        waiting = list(self)
        self._replace(publish for publish in waiting if exchange is not None and publish.exchange != exchange)
        return [publish for publish in waiting if exchange is None or publish.exchange == exchange]

    def look(self) -> None:
        """Let go of those that nobody waits for."""
        looked_at = self._waiting
        self._replace(publish for publish in looked_at if not publish.confirmed.done())
        self._most, self._most_bytes = max(_FEWEST, 2 * len(self)), max(_FEWEST_BYTES, 2 * self._bytes)
        for publish in looked_at:
            if publish.confirmed.done():
                self._left(publish)

    def _replace(self, publishes: Iterable[Publish]) -> None:
        self._waiting = deque(publishes)
        self._bytes = sum(publish.size for publish in self._waiting)
