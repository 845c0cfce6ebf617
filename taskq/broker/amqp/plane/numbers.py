"""Which channel numbers of a connection are free. Every channel of a connection gets its number here."""

from __future__ import annotations

from taskq.broker.amqp.plane.faults import NoChannelFree

_MOST = 65_535


class ChannelNumbers:
    """``channel_max`` as the broker said it; 0 means no limit but AMQP's own. A number that was freed is taken last."""

    def __init__(self, channel_max: int) -> None:
        self._most = min(channel_max or _MOST, _MOST)
        self._taken: set[int] = set()
        self._last = 0

    def __len__(self) -> int:
        return len(self._taken)

    def take(self) -> int:
        """Return a free number. Raises :class:`NoChannelFree` when there is none."""
        if len(self._taken) >= self._most:
            raise NoChannelFree(self._most)
        number = self._last
        while True:
            number = number % self._most + 1
            if number not in self._taken:
                break
        self._last = number
        self._taken.add(number)
        return number

    def free(self, number: int) -> None:
        """Give a number back, when the broker has confirmed that its channel is closed."""
        self._taken.discard(number)
