"""Which deliveries of a channel are finished, and the fewest acks that say so.

Rule, for each flush: one ``multiple`` ack up to the highest finished, not yet acked tag with nothing running below
it; then every other finished tag by itself. Acking only the contiguous beginning would hold up the consumer behind one
long job, since the broker counts what is not acked against the prefetch. A ``multiple`` ack is never sent on a tag that
was acked before: the broker closes the channel for that (406).

Tags are handed out in order. So of those up to the highest finished one, all that are not finished are running, and
these are all that has to be known: no more than the prefetch, however long the longest job runs.
"""

from __future__ import annotations

from bisect import bisect


class AckLedger:
    """The tags of one channel. Tags count from 1, without gaps."""

    def __init__(self) -> None:
        self._highest = 0  # that is finished
        self._running: dict[int, None] = {}  # tags below it that are not; in ascending order, as they were put in
        self._done: list[int] = []  # finished, not acked
        self._waiting = 0  # how many these are

    def __len__(self) -> int:
        """How many tags it has to remember."""
        return len(self._running) + len(self._done)

    def finish(self, tag: int) -> int:
        """Take note that a delivery is settled, each tag once, and return how many are and not acked."""
        self._done.append(tag)
        highest = self._highest
        if tag > highest:
            self._highest = tag
            if tag > highest + 1:
                self._running.update(dict.fromkeys(range(highest + 1, tag)))
        else:
            del self._running[tag]
        self._waiting = waiting = self._waiting + 1
        return waiting

    def take(self) -> list[tuple[int, bool]]:
        """Return what is to be acked now, as pairs of tag and ``multiple``, and count it as acked."""
        done = self._done
        if not done:
            return []
        self._done = []
        self._waiting = 0
        if not self._running:
            return [(max(done), True)]
        done.sort()
        below = bisect(done, next(iter(self._running)))
        acks = [(done[below - 1], True)] if below else []
        return acks + [(tag, False) for tag in done[below:]]
