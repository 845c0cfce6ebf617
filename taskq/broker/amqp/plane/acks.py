"""Which deliveries of a channel are finished, and the fewest acks that say so.

Rule, for each flush: one ``multiple`` ack up to the highest finished, not yet acked tag with nothing running below
it; then every other finished tag by itself. Acking only the contiguous beginning would hold up the consumer behind one
long job, since the broker counts what is not acked against the prefetch. A ``multiple`` ack is never sent on a tag that
was acked before: the broker closes the channel for that (406).
"""

from __future__ import annotations


class AckLedger:
    """The tags of one channel. Tags count from 1, without gaps."""

    def __init__(self) -> None:
        self._low = 0  # all tags up to here are acked
        self._done: set[int] = set()  # finished, not acked
        self._alone: set[int] = set()  # acked by themselves, above `_low`

    def finish(self, tag: int) -> None:
        """Take note that a delivery is settled. Each tag once."""
        self._done.add(tag)

    def take(self) -> list[tuple[int, bool]]:
        """Return what is to be acked now, as pairs of tag and ``multiple``, and count it as acked."""
        done, alone = self._done, self._alone
        if not done:
            return []
        low, last = self._low, 0
        while True:
            tag = low + 1
            if tag in done:
                done.remove(tag)
                last = tag
            elif tag in alone:
                alone.remove(tag)
            else:
                break
            low = tag
        self._low = low
        acks = [(last, True)] if last else []
        if done:
            acks += [(tag, False) for tag in sorted(done)]
            alone |= done
            done.clear()
        return acks
