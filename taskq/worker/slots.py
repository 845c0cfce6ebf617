"""How many jobs of each queue a worker runs at a time. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taskq.errors import UsageError


def resolve_slots(
    own: Mapping[str, int | None], chosen: Mapping[str, int | None] | None, concurrency: int | None, default: int
) -> dict[str, int]:
    """Return the queues to consume, and the temporary subscriptions, with their concurrency.

    ``own``: all that the app has, with the concurrency of each one's own declaration. A number that is ``chosen`` goes
    before ``concurrency`` (for every queue), which goes before the declaration, which goes before ``default``. Raises
    :class:`UsageError` for an unknown queue, a number below 1, or when there is nothing to consume.
    """
    if not own:
        raise UsageError("the app has no task or subscription to work on; declare one, or include the router that does")
    if chosen is not None and not chosen:
        raise UsageError(f"name at least one queue to work on; the app has {', '.join(sorted(own))}")
    unknown = sorted(set(chosen or ()) - set(own))
    if unknown:
        queues = ", ".join(map(repr, unknown))
        raise UsageError(f"no task or subscription uses the queue {queues}; the app has {', '.join(sorted(own))}")
    slots: dict[str, int] = {}
    for name in own if chosen is None else chosen:
        given = None if chosen is None else chosen[name]
        slots[name] = next(n for n in (given, concurrency, own[name], default) if n is not None)
        if not 1 <= slots[name] <= 65_535:
            raise UsageError(f"queue {name!r}: a concurrency of {slots[name]} is out of range; it must be 1 to 65535")
    return slots
