"""What the checker found: frozen values, and a text for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum

from tests.support.ledger.records import Fault

_SHOWN = 20


class Kind(StrEnum):
    """What can be wrong with a job."""

    LOST = "lost"
    DUPLICATED = "duplicated"
    NEVER_ENQUEUED = "never enqueued"
    REFUSED = "ran though refused"
    EARLY = "ran early"
    WRONG_CALLER = "wrong caller"
    ABOVE_POLICY = "attempts above policy"
    REPEATED = "ran too often"
    UNANSWERED = "unanswered"
    LEFT_OVER = "left over"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``faults`` are those that may explain it: a duplicate, or a run before the ETA."""

    kind: Kind
    job: str
    detail: str
    faults: tuple[Fault, ...] = ()

    def __str__(self) -> str:
        excuse = "".join(f"; may be due to {fault.what} of {fault.pid or 'all'}" for fault in self.faults)
        return f"{self.kind}: {self.job}: {self.detail}{excuse}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings, and how much there was to look at. ``torn`` ledgers are normal after a kill."""

    wanted: int
    confirmed: int
    executions: int
    ended: int
    dead: int
    faults: int
    torn: tuple[str, ...]
    findings: tuple[Finding, ...]

    def of(self, kind: Kind) -> tuple[Finding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind is kind)

    @property
    def violations(self) -> tuple[Finding, ...]:
        """What breaks a promise: everything but what a fault may explain, as a duplicate (at least once)."""
        return tuple(finding for finding in self.findings if not finding.faults)

    def __str__(self) -> str:
        numbers = Counter(finding.kind for finding in self.findings)
        excused = sum(1 for finding in self.findings if finding.faults)
        lines = [
            f"{self.wanted} wanted, {self.confirmed} confirmed, {self.executions} executions, {self.ended} ended, "
            f"{self.dead} dead; {self.faults} faults, {len(self.torn)} torn ledgers",
            ", ".join(f"{kind} {numbers[kind]}" for kind in Kind) + f" ({excused} of them explained)",
            *(f"  {finding}" for finding in self.findings[:_SHOWN]),
        ]
        if len(self.findings) > _SHOWN:
            lines.append(f"  … and {len(self.findings) - _SHOWN} more")
        return "\n".join(lines)
