"""From a history and the final state of the broker to a report. Pure.

Theory. A job *ends* when an execution of it returns, when it becomes a dead letter, or when it expires. A confirmed job
has to end once. Executions that failed, were snoozed, cut or killed are no ends: something else has to follow them.

A second end is a duplicate. A fault may explain it when it hit a process after that process had started the job, and
before the repetition started, and unless the execution had ended so long before (``settle_within_s``) that its delivery
must have been settled. A fault without a process (a broker's restart, a cut network) may explain any execution.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, pairwise
from math import inf

from tests.support.ledger.history import History
from tests.support.ledger.records import (
    Answered,
    Confirmed,
    Dead,
    Ended,
    Expired,
    Fault,
    FinalState,
    Outcome,
    Refused,
    Started,
    Wanted,
)
from tests.support.ledger.report import Finding, Kind, Report


@dataclass(frozen=True, slots=True)
class _Execution:
    """An execution; ``ended`` is ``None`` when nothing says that it ended."""

    started: Started
    ended: Ended | None


@dataclass(frozen=True, slots=True)
class _End:
    """An end of a job: at ``at``, by an execution that began at ``began`` (the same, where no execution is known)."""

    how: str
    at: float
    began: float
    by: Started | None = None


def check(history: History, final: FinalState, *, settle_within_s: float = 2.0) -> Report:
    """Compare what was seen with what is promised.

    ``settle_within_s``: how long after the end of an execution its delivery may be unsettled.
    """
    facts = _Facts(history, final, settle_within_s)
    findings = chain(
        facts.lost(),
        facts.duplicated(),
        facts.never_enqueued(),
        facts.ran_though_refused(),
        facts.early(),
        facts.wrong_callers(),
        facts.above_policy(),
        facts.left_over(),
    )
    return Report(
        wanted=len(facts.wanted),
        confirmed=len(facts.confirmed),
        executions=sum(map(len, facts.executions.values())),
        ended=len(facts.ends),
        dead=len(final.dead),
        faults=len(facts.faults),
        torn=history.torn,
        findings=tuple(findings),
    )


class _Facts:
    """A history by job, and each question that is asked of it."""

    def __init__(self, history: History, final: FinalState, settle_within_s: float) -> None:
        self.final = final
        self.faults = history.of(Fault)
        self.answers = history.of(Answered)
        self.refusals = history.of(Refused)
        self.wanted = {record.job: record for record in history.of(Wanted)}
        self.confirmed = {record.job for record in history.of(Confirmed)}
        self.executions = _executions(history)
        self.ends = _ends(self.executions, history.of(Expired), final.dead)
        self._settle_within_s = settle_within_s

    def lost(self) -> Iterator[Finding]:
        left = {one.job for one in self.final.left}
        for job in sorted(self.confirmed - set(self.ends) - left):
            seen = self.executions.get(job, [])
            last = seen[-1].ended if seen else None
            how = "never ran" if not seen else f"ran {len(seen)} times, last: {last.outcome if last else 'no end'}"
            yield Finding(Kind.LOST, job, f"confirmed, and {how}")

    def duplicated(self) -> Iterator[Finding]:
        for job, ends in sorted(self.ends.items()):
            for first, again in pairwise(ends):
                later = "" if again.at == inf else f" {again.at - first.at:.3f} s later"
                text = f"{first.how}, and {again.how}{later}"
                repetition = max(first, again, key=lambda end: end.began)  # it may have ended before the other
                yield Finding(Kind.DUPLICATED, job, text, self._excuses(job, repetition))

    def never_enqueued(self) -> Iterator[Finding]:
        sent = self.confirmed | set(self.wanted)
        for job in sorted(set(self.executions) - sent):
            yield Finding(Kind.NEVER_ENQUEUED, job, "ran, but nobody sent it")
        for dead in self.final.dead:
            if dead.job not in sent and dead.job not in self.executions:
                yield Finding(Kind.NEVER_ENQUEUED, dead.job, f"a dead letter ({dead.reason}) that nobody sent")

    def ran_though_refused(self) -> Iterator[Finding]:
        for refusal in self.refusals:
            if refusal.job in self.executions or refusal.job in self.ends:
                yield Finding(Kind.REFUSED, refusal.job, f"ran, and its producer was told: {refusal.why}")

    def early(self) -> Iterator[Finding]:
        for job, wanted in sorted(self.wanted.items()):
            runs = self.executions.get(job)
            if runs and wanted.not_before is not None and runs[0].started.at < wanted.not_before:
                by = wanted.not_before - runs[0].started.at
                yield Finding(Kind.EARLY, job, f"{by * 1000:.1f} ms before its ETA")

    def wrong_callers(self) -> Iterator[Finding]:
        for answer in self.answers:
            if answer.of != answer.job:
                yield Finding(Kind.WRONG_CALLER, answer.job, f"its caller got the result of {answer.of}")

    def above_policy(self) -> Iterator[Finding]:
        for job, wanted in sorted(self.wanted.items()):
            highest = max((run.started.attempt for run in self.executions.get(job, [])), default=0)
            if highest > wanted.attempts:
                yield Finding(Kind.ABOVE_POLICY, job, f"attempt {highest} of {wanted.attempts}")

    def left_over(self) -> Iterator[Finding]:
        for left in self.final.left:
            yield Finding(Kind.LEFT_OVER, left.job or "unknown", f"{left.count} in queue {left.queue}")

    def _excuses(self, job: str, again: _End) -> tuple[Fault, ...]:
        before = [run for run in self.executions.get(job, []) if run.started is not again.by]
        return tuple(fault for fault in self.faults if any(self._may_explain(fault, run, again) for run in before))

    def _may_explain(self, fault: Fault, run: _Execution, again: _End) -> bool:
        if fault.pid not in (None, run.started.pid) or fault.at > again.began or run.started.at > again.began:
            return False
        settled_by = inf if run.ended is None else run.ended.at + self._settle_within_s
        return run.started.at <= fault.until and fault.at <= settled_by


def _executions(history: History) -> dict[str, list[_Execution]]:
    """Return the executions of each job, the earliest first. Each end belongs to one start only."""
    ended: dict[tuple[str, int, int, int], deque[Ended]] = defaultdict(deque)
    for end in history.of(Ended):
        ended[_key(end)].append(end)
    found: dict[str, list[_Execution]] = defaultdict(list)
    for start in history.of(Started):
        ends = ended[_key(start)]
        found[start.job].append(_Execution(start, ends.popleft() if ends else None))
    return dict(found)


def _key(record: Started | Ended) -> tuple[str, int, int, int]:
    return record.job, record.pid, record.attempt, record.execution


def _ends(
    executions: dict[str, list[_Execution]], expired: list[Expired], dead: tuple[Dead, ...]
) -> dict[str, list[_End]]:
    found: dict[str, list[_End]] = defaultdict(list)
    for job, runs in executions.items():
        for run in runs:
            if run.ended is not None and run.ended.outcome is Outcome.RETURNED:
                found[job].append(_End("returned", run.ended.at, run.started.at, run.started))
    for drop in expired:
        found[drop.job].append(_End("expired", drop.at, drop.at))
    for letter in dead:
        at = inf if letter.died_at is None else letter.died_at
        found[letter.job].append(_End(f"dead ({letter.reason})", at, at))
    return {job: sorted(ends, key=lambda end: end.at) for job, ends in found.items()}
