"""Which publishes of a channel the broker has not confirmed yet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ConfirmLedger(Generic[T]):
    """Counts publishes as the broker does, from 1, and finds those that a confirm is about."""

    def __init__(self) -> None:
        self._open: dict[int, T] = {}
        self._last = 0
        self._lowest = 1

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[T]:
        return iter(self._open.values())

    def add(self, publish: T) -> None:
        """Take note of a publish that goes out now; the order of the calls is that of the wire."""
        self._last += 1
        self._open[self._last] = publish

    def settle(self, tag: int, *, multiple: bool) -> list[T]:
        """Return the publishes of a confirm, in order, and forget them. A tag that is not open is passed over."""
        if not multiple:
            publish = self._open.pop(tag, None)
            return [] if publish is None else [publish]
        last = min(tag, self._last) if tag else self._last  # tag 0: all
        settled = [self._open.pop(n) for n in range(self._lowest, last + 1) if n in self._open]
        self._lowest = max(self._lowest, last + 1)
        return settled

    def take_all(self) -> list[T]:
        """Return every open publish, in order, and forget them: the channel is gone."""
        left = list(self._open.values())
        self._open.clear()
        return left
