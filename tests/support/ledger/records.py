"""What is written into a ledger, and what is known of the broker at the end. Frozen values, and their JSON.

Times are seconds since the epoch, of the wall clock: all processes of a test run on one machine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum


class Outcome(StrEnum):
    """How an execution ended, as the worker's process saw it."""

    RETURNED = "returned"
    FAILED = "failed"
    SNOOZED = "snoozed"
    CUT = "cut"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A producer is about to enqueue a job. ``attempts``: how many its policy allows. ``not_before``: its ETA.

    ``pid``: the producer's process.
    """

    job: str
    at: float
    attempts: int = 1
    not_before: float | None = None
    pid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """The broker confirmed a job to its producer."""

    job: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The broker did not take a job, and will not run it: ``why`` is the error, which is no "may have been"."""

    job: str
    at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A worker began an execution; ``attempt``, ``execution`` and ``queue`` as the task's context says."""

    job: str
    at: float
    pid: int
    attempt: int
    execution: int
    queue: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An execution ended; its delivery is settled after this."""

    job: str
    at: float
    pid: int
    attempt: int
    execution: int
    outcome: Outcome

    def __post_init__(self) -> None:
        object.__setattr__(self, "outcome", Outcome(self.outcome))


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """A worker is about to put a job back that it did not run: a copy of it is sent, then its delivery is settled."""

    job: str
    at: float
    pid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """A worker dropped a job, because its time to start was over."""

    job: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A caller got a result for ``job``; by its content it is the result of ``of``."""

    job: str
    at: float
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswered:
    """A caller got an error instead of a result."""

    job: str
    at: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The test broke something, between ``at`` and ``until``. ``pid`` is ``None`` when it hit more than a process."""

    what: str
    at: float
    until: float
    pid: int | None = None


CLOCK_JUMP = "clock jump"
"""The fault after which a job may run early: the clock of the process that sent it was wrong while it was sent."""
NODE_LOST = "node lost"
"""How faults begin that take a node of a cluster away, with its reply queues: what is sent to those is dropped."""

Record = Wanted | Confirmed | Refused | Started | Ended | GivenBack | Expired | Answered | Unanswered | Fault
_KINDS = {
    kind.__name__: kind
    for kind in (Wanted, Confirmed, Refused, Started, Ended, GivenBack, Expired, Answered, Unanswered, Fault)
}


def to_line(record: Record) -> bytes:
    """Return the one line, with its end, that a record is written as."""
    line = {"record": type(record).__name__, **asdict(record)}
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> Record:
    """Return the record of a line. Raises ``ValueError`` when it is none."""
    try:
        fields = json.loads(line)
        return _KINDS[fields.pop("record")](**fields)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no record of a ledger: {line[:200]!r}") from error


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter at the end. ``died_at`` is ``None`` where the broker itself moved it."""

    job: str
    queue: str
    reason: str
    died_at: float | None = None


@dataclass(frozen=True, slots=True)
class Left:
    """Messages that still lie in a work queue at the end. ``job`` is ``None`` where the broker only counts them."""

    queue: str
    job: str | None = None
    count: int = 1


@dataclass(frozen=True, slots=True)
class FinalState:
    """What lies in the broker when everything has come to rest."""

    dead: tuple[Dead, ...] = ()
    left: tuple[Left, ...] = ()
