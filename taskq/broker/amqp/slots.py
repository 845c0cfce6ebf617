"""What the slots of a consumer are taken by. Pure; the consumer acts on it.

A slot is taken from the moment at which a delivery is handed over until that is settled, also when its channel is gone
by then: the settle leads to nothing, but until it comes the job runs. A slot that a settle keeps is taken until it is
freed.

The AMQP consumer of the moment keeps to its prefetch by itself, with what it handed out. So that prefetch has to leave
room for all the *others*: deliveries of one that was cancelled, and of channels that are consumed no more.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Place = TypeVar("Place", bound=Hashable)


class Slots(Generic[Place]):
    """``total`` slots; a place is a channel. ``spare``: how many are left for the AMQP consumer of the moment.

    ``own``: the tags of its deliveries that run.
    """

    def __init__(self, total: int) -> None:
        self.spare = total
        self._total = total
        self._kept = 0
        self._current: Place | None = None
        self.own: set[int] = set()
        self._others: dict[Place, set[int]] = {}

    @property
    def places(self) -> Iterable[Place]:
        """Where deliveries still run that the AMQP consumer of the moment did not hand out."""
        return list(self._others)

    def runs_on(self, place: Place) -> bool:
        """Whether such deliveries run there."""
        return place in self._others

    def enter(self, place: Place) -> None:
        """Take note that ``place`` is consumed from now on."""
        self.leave()
        self._current = place

    def leave(self) -> None:
        """Take note that nothing is consumed any more; what runs, runs on."""
        self.set_apart()
        self._current = None

    def set_apart(self) -> None:
        """Take note that the AMQP consumer was cancelled: what it handed out is left over for the next one."""
        if self.own and self._current is not None:
            self._others.setdefault(self._current, set()).update(self.own)
            self.own = set()
            self._count()

    def is_own(self, place: Place, tag: int) -> bool:
        """Whether the AMQP consumer of the moment handed a delivery out that still runs."""
        return place == self._current and tag in self.own

    def take(self, place: Place, tag: int) -> None:
        """Take a slot for a delivery."""
        if place == self._current:
            self.own.add(tag)
        else:
            self._others.setdefault(place, set()).add(tag)
            self._count()

    def give(self, place: Place, tag: int) -> None:
        """Take note that a delivery was settled, or settled to nothing. Twice is harmless."""
        if place == self._current and tag in self.own:
            self.own.remove(tag)
        elif (others := self._others.get(place)) is not None:
            others.discard(tag)
            if not others:
                del self._others[place]
            self._count()

    def resize(self, total: int) -> None:
        """Have so many slots from now on. Those that are taken stay so, also above that."""
        self._total = total
        self._count()

    def keep(self) -> None:
        """Keep a slot beyond the settle of its delivery."""
        self._kept += 1
        self._count()

    def free(self) -> None:
        """Free a slot that was kept."""
        self._kept -= 1
        self._count()

    def _count(self) -> None:
        self.spare = max(0, self._total - self._kept - sum(map(len, self._others.values())))
