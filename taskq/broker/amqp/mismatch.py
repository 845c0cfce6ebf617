"""Why RabbitMQ refuses a declaration, one argument at a time. Pure; ``declaring`` asks the broker.

Theory of operation. A declaration that differs from the queue that exists is refused with 406, and the text names the
first argument that differs, with the broker's value. A :class:`Probe` takes that value over and declares again, on a
new channel, until the broker agrees or names nothing new; what was taken over is what differs.

An exchange is not probed: what differs there is nearly always its kind alone.

A declaration makes a queue where none is, and the queue may be deleted while it is probed. So each probe carries
:data:`GUARD`, an argument of streams. RabbitMQ refuses to *make* a quorum or classic queue with it, and does not look
at it when it compares with one that exists. A probe can thus change nothing; none is sent for another type of queue.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final, NamedTuple

from taskq.broker.amqp.topology import Argument, ExchangeSpec, QueueSpec
from taskq.errors import ExchangeMismatch

GUARD: Final = {"x-max-age": "1h"}
MOST_PROBES = 40  # more arguments than there are; a broker that never agrees must not keep us


class Untold(Enum):
    """A value that the broker has and did not say: its texts are cut at 255 bytes."""

    OTHER = "another value"

    def __repr__(self) -> str:
        return self.value


class Complaint(NamedTuple):
    """An argument that differs. ``present``: the values that the broker's may be, the likeliest first.

    ``received``: ours as the broker repeats it, ``None`` also when it does not.
    """

    argument: str
    present: tuple[Argument | None, ...]
    received: Argument | None = None


_WHOLE = re.compile(r"[a-z]*(?:byte|short|int|long)")
_FRACTION = frozenset({"float", "double", "decimal"})
# What the other type of queue neither takes nor compares.
_ONLY: Final = {"quorum": ("x-delivery-limit", "x-dead-letter-strategy"), "classic": ("x-max-priority",)}
_TYPE = "x-queue-type"


def read_complaint(text: str, declared: QueueSpec) -> Complaint | None:
    """Read the text of a refused declaration; ``None`` when it is about something else."""
    if text.startswith("RESOURCE_LOCKED"):  # it is another connection's, and nothing more is said about it
        return Complaint("exclusive", () if declared.exclusive else (True,), declared.exclusive)
    found = _said(text, "queue", declared.name)
    return found and _compared(*found, _declared(declared, found[0]))


def exchange_mismatch(text: str, declared: ExchangeSpec) -> ExchangeMismatch | None:
    """Return the error behind a refused declaration of an exchange; ``None`` when it is about something else."""
    found = _said(text, "exchange", declared.name)
    if found is None:
        return None
    own: dict[str, Argument] = {"type": declared.kind, "durable": declared.durable, "auto_delete": False}
    mine = {**declared.arguments, **own, "internal": False}.get(found[0])
    complaint = _compared(*found, mine)
    present = complaint.present[0] if complaint.present else Untold.OTHER
    name = "kind" if complaint.argument == "type" else complaint.argument
    return ExchangeMismatch(declared.name, {name: (mine, present)})


def _said(text: str, what: str, name: str) -> tuple[str, str] | None:
    """Return the argument that the text is about, and what it says of its values."""
    found = re.search(rf"inequivalent arg '(.*?)' for {what} '", text)
    if found is None:
        return None
    tail = re.search(r"': received (.*)", text[found.end() :].removeprefix(name), re.DOTALL)
    return found[1], tail[1] if tail else ""


def _compared(argument: str, tail: str, mine: Argument | None) -> Complaint:
    if found := re.fullmatch(r"the value '(.*)' of type '(\w+)' but current is none", tail, re.DOTALL):
        return Complaint(argument, (None,), _typed(found[1], found[2]))
    if found := re.fullmatch(r"none but current is the value '(.*)' of type '(\w+)'", tail, re.DOTALL):
        return Complaint(argument, (_typed(found[1], found[2]),))
    if found := re.fullmatch(r"'(.*)' but current is '(.*)'", tail, re.DOTALL):
        return Complaint(argument, _untyped(found[2], mine), _untyped(found[1], None)[0])
    return Complaint(argument, ())  # cut off


def _typed(text: str, kind: str) -> Argument:
    if kind == "bool":
        return text == "true"
    if kind in _FRACTION:
        return float(text)
    # "longstr" has "long" in it, and ends otherwise
    return int(text) if _WHOLE.fullmatch(kind) or kind == "timestamp" else text


def _untyped(text: str, mine: Argument | None) -> tuple[Argument, ...]:
    """Both values have a type here that is not told: ours is known, theirs is most likely the same."""
    if text in ("true", "false") and not isinstance(mine, str):
        return (text == "true",)
    if re.fullmatch(r"-?\d+", text):
        return (text, int(text)) if isinstance(mine, str) and mine != text else (int(text), text)
    return (text,)


def _declared(spec: QueueSpec, argument: str) -> Argument | None:
    match argument:
        case "durable":
            return spec.durable
        case "auto_delete":
            return spec.auto_delete
        case "exclusive":
            return spec.exclusive
        case _:
            return spec.arguments.get(argument)


def _with(spec: QueueSpec, argument: str, value: Argument | None) -> QueueSpec:
    match argument:
        case "durable":
            return replace(spec, durable=bool(value))
        case "auto_delete":
            return replace(spec, auto_delete=bool(value))
        case "exclusive":
            return replace(spec, exclusive=bool(value))
        case _:
            pass
    kept = {key: each for key, each in spec.arguments.items() if key != argument}
    return replace(spec, arguments=kept if value is None else {**kept, argument: value})


class Probe:
    """The search for all differences between a declaration and the queue of that name."""

    def __init__(self, declared: QueueSpec) -> None:
        self._declared = declared
        self._now = declared
        self._found: dict[str, Argument | Untold | None] = {}
        self._left: dict[str, list[Argument | None]] = {}

    @property
    def next(self) -> QueueSpec:
        """What to declare now: with what was learned, and the guard."""
        return replace(self._now, arguments={**self._now.arguments, **GUARD})

    def learn(self, text: str) -> bool:
        """Take over what a refused declaration says. False: it says nothing new, or cannot be followed further."""
        complaint = read_complaint(text, self._declared)
        if complaint is None:
            return False
        argument = complaint.argument
        if argument in GUARD:
            if complaint.present != (None,):  # nothing but a stream has it
                self._found[_TYPE] = "stream"
            return False
        if argument in self._left:
            return self._try_another(argument)
        # A value that was not told may be none at all; that can be tried.
        self._left[argument] = [*complaint.present[1:]]
        self._found[argument] = complaint.present[0] if complaint.present else Untold.OTHER
        self._now = _with(self._now, argument, complaint.present[0] if complaint.present else None)
        if self._declared.arguments.get(_TYPE, "classic") not in _ONLY:
            return False
        return argument != "exclusive" and not (argument == _TYPE and self._found[_TYPE] not in (*_ONLY, None))

    def _try_another(self, argument: str) -> bool:
        if not self._left[argument]:
            return False
        self._found[argument] = value = self._left[argument].pop(0)
        self._now = _with(self._now, argument, value)
        return True

    def agreed(self) -> None:
        """Note that the broker took the last probe: a value that was not told is then none."""
        for argument, value in self._found.items():
            if value is Untold.OTHER:
                self._found[argument] = None

    @property
    def differences(self) -> Mapping[str, tuple[object, object]]:
        """Each argument that differs: what is declared, and what the broker has (``None``: not set)."""
        found: dict[str, object] = dict(self._found)
        if _TYPE in found:
            found[_TYPE] = found[_TYPE] or "classic"  # which is what nothing means
            only = _ONLY.get(str(self._declared.arguments.get(_TYPE, "classic")), ())
            found.update({key: None for key in only if key in self._declared.arguments and key not in found})
        return {argument: (_declared(self._declared, argument), value) for argument, value in found.items()}
