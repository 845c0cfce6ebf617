"""Who closed the channel. Pure.

The broker closes a channel because of one publish, and does not say which. All that were in flight are suspects then,
also those whose callers have given up; what is left of them goes again, one at a time, until all are through. The
channel that closes with one publish in flight names the culprit. One that closes with none accuses nobody.

RabbitMQ can also fail inside because of a message (a name for a direct reply that is none), and ends the connection.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Generic, TypeVar

T = TypeVar("T")


class Suspects(Generic[T]):
    """``window``: how many publishes may be in flight, ``most`` or one."""

    def __init__(self, most: int) -> None:
        self.window = most
        self._most = most
        self._open: set[T] = set()
        self._alone: T | None = None  # in flight when the broker failed inside last

    def closed(self, in_flight: Sized, left: Iterable[T]) -> bool:
        """Take note that the broker closed the channel, and say whether the one in flight is the culprit.

        ``left`` are those in flight whose callers still wait: they go again.
        """
        if len(in_flight) > 1:
            self._open.update(left)
            self._set_window()
        return len(in_flight) == 1

    def crashed(self, in_flight: Sized, left: Sequence[T]) -> bool:
        """Take note that the broker failed inside, and say whether the one in flight is the culprit.

        It may fail for another reason: the culprit was alone in flight twice.
        """
        if not self.closed(in_flight, left) or not left:
            return False
        again = left[0] is self._alone
        self._alone = None if again else left[0]
        return again

    def absolve(self, publish: T) -> None:
        """Suspect a publish no more: it is through, or given up. Whoever is no suspect is passed over."""
        if self._open:
            self._open.discard(publish)
            self._set_window()

    def _set_window(self) -> None:
        self.window = 1 if self._open else self._most
