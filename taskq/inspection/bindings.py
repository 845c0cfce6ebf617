"""Bindings that a program no longer declares. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from taskq.tasks.exchanges import Binding

_OURS = "taskq."  # exchanges of taskq's own: the delay ladder


def stale_bindings(present: Iterable[Binding], declared: Iterable[Binding]) -> list[Binding]:
    """Return the bindings that are ``present`` in the broker, of queues that are ``declared``, without being declared.

    Left out are those of taskq's own exchanges, by which delays come back, and of the default exchange.
    """
    wanted: dict[str, list[Binding]] = {}
    for binding in declared:
        wanted.setdefault(binding.queue, []).append(binding)
    return [
        binding
        for binding in present
        if binding.queue in wanted
        and binding.exchange
        and not binding.exchange.startswith(_OURS)
        and not any(_is_same(binding, each) for each in wanted[binding.queue])
    ]


def _is_same(one: Binding, other: Binding) -> bool:
    """Whether they are one binding of a queue. ``match`` says nothing where there are no headers to match.

    Header values are compared as Python does, so that 1 and ``True`` are equal: what may be declared is never stale.
    """
    return (
        one.exchange == other.exchange
        and one.key == other.key
        and one.headers == other.headers
        and (one.match == other.match or not one.headers)
    )
