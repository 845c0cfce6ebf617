"""From a history and the final state of the broker to a report. Pure.

Theory. A job *ends* when an execution of it returns, when it becomes a dead letter, or when it expires. A confirmed job
has to end once. Executions that failed, were snoozed, cut or killed are no ends: something else has to follow them.

A second end is a duplicate. A fault may explain it when it hit a process after that process had started the job, and
before the repetition started, and unless the execution had ended so long before (``settle_within_s``) that its delivery
must have been settled. So may one that held up the process of the repetition, which had the delivery by then, while
another process was given it and ran it, and which began it when that was over. A fault without a process (a broker's
restart, a cut network) may explain any execution, and what waited in the broker meanwhile. A fault of the producer may
explain what was sent and not yet confirmed at that time: it was sent once more. So may a fault of a worker that was
giving the job back: the copy was sent, and the original not yet settled.

A job may run as often as its attempts, its snoozes, and what cut it short say; each fault that may explain a duplicate
may have made another chain of attempts.

A caller whose process lives gets the result of a job that returned, whatever happened to its connection; unless the
broker was away, or the way to it, when the caller's time was over, or a node of a cluster was when the reply was sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, pairwise
from math import inf

from tests.support.ledger.history import History
from tests.support.ledger.records import (
    CLOCK_JUMP,
    NODE_LOST,
    Answered,
    Confirmed,
    Dead,
    Ended,
    Expired,
    Fault,
    FinalState,
    GivenBack,
    Outcome,
    Refused,
    Started,
    Unanswered,
    Wanted,
)
from tests.support.ledger.report import Finding, Kind, Report

_SENT_S = 20.0  # a publish that was never confirmed is tried no longer than that
_REPLIED_S = 5.0  # a result is with its caller that long after the execution, or after the fault in between


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
        facts.repeated(),
        facts.unanswered(),
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
        self.confirmed = {record.job: record.at for record in history.of(Confirmed)}
        self.given_back = _by_job(history.of(GivenBack))
        self.disappointed = history.of(Unanswered)
        self.executions = _executions(history)
        self.ends = _ends(self.executions, history.of(Expired), final.dead)
        self._settle_within_s = settle_within_s

    def lost(self) -> Iterator[Finding]:
        left = {one.job for one in self.final.left}
        for job in sorted(set(self.confirmed) - set(self.ends) - left):
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
        sent = {*self.confirmed, *self.wanted}
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
                text = f"{by * 1000:.1f} ms before its ETA"
                yield Finding(Kind.EARLY, job, text, self._jumps(wanted, runs[0].started.at))

    def wrong_callers(self) -> Iterator[Finding]:
        for answer in self.answers:
            if answer.of != answer.job:
                yield Finding(Kind.WRONG_CALLER, answer.job, f"its caller got the result of {answer.of}")

    def above_policy(self) -> Iterator[Finding]:
        for job, wanted in sorted(self.wanted.items()):
            highest = max((run.started.attempt for run in self.executions.get(job, [])), default=0)
            if highest > wanted.attempts:
                yield Finding(Kind.ABOVE_POLICY, job, f"attempt {highest} of {wanted.attempts}")

    def repeated(self) -> Iterator[Finding]:
        for job, wanted in sorted(self.wanted.items()):
            runs = self.executions.get(job, [])
            allowed = self._allowed(wanted, runs)
            if len(runs) > allowed and max(run.started.attempt for run in runs) <= wanted.attempts:
                yield Finding(Kind.REPEATED, job, f"{len(runs)} executions of at most {allowed}")

    def unanswered(self) -> Iterator[Finding]:
        for record in self.disappointed:
            ready = min((end.at for end in self.ends.get(record.job, []) if end.by is not None), default=inf)
            waited_s = record.at - ready
            excused = any(self._away(fault, record) or self._homeless(fault, record, ready) for fault in self.faults)
            if waited_s > _REPLIED_S and not excused:
                text = f"its caller gave up {waited_s:.1f} s after it returned: {record.why}"
                yield Finding(Kind.UNANSWERED, record.job, text)

    def left_over(self) -> Iterator[Finding]:
        for left in self.final.left:
            yield Finding(Kind.LEFT_OVER, left.job or "unknown", f"{left.count} in queue {left.queue}")

    def _allowed(self, wanted: Wanted, runs: list[_Execution]) -> int:
        """Return how often a job may run, with a chain of attempts more for each time that a fault hit it."""
        kinds = Counter(None if run.ended is None else run.ended.outcome for run in runs)
        cut_short = kinds[Outcome.SNOOZED] + kinds[Outcome.CUT] + kinds[None]
        doubled = max(0, kinds[Outcome.RETURNED] - 1)  # that is told as a duplicate
        undisturbed = wanted.attempts + cut_short + doubled
        if len(runs) <= undisturbed:
            return undisturbed
        last = runs[-1].started.at
        hits = sum(self._hits(fault, run, last) for fault in self.faults for run in runs[:-1])
        sent_twice = sum(self._sent_twice(fault, wanted.job, last) for fault in self.faults)
        copied = sum(self._copied(fault, wanted.job, last) for fault in self.faults)
        pairs = list(combinations((run.started for run in runs), 2))
        held_up = sum(any(self._held_up(fault, *pair) for pair in pairs) for fault in self.faults)
        return undisturbed + wanted.attempts * (hits + sent_twice + copied + held_up)

    def _excuses(self, job: str, again: _End) -> tuple[Fault, ...]:
        before = [run for run in self.executions.get(job, []) if run.started is not again.by]
        return tuple(
            fault
            for fault in self.faults
            if self._sent_twice(fault, job, again.began)
            or self._copied(fault, job, again.began)
            or any(self._hits(fault, run, again.began) or self._held_up(fault, run.started, again.by) for run in before)
        )

    def _hits(self, fault: Fault, run: _Execution, again_at: float) -> bool:
        """Whether an execution's delivery may have come back by a fault, so that another one began at ``again_at``."""
        if fault.pid not in (None, run.started.pid) or fault.at > again_at or run.started.at > again_at:
            return False
        settled_by = inf if run.ended is None else run.ended.at + self._settle_within_s
        return self._since(fault, run) <= fault.until and fault.at <= settled_by

    def _held_up(self, fault: Fault, run: Started, again: Started | None) -> bool:
        """Whether a fault may have held up ``again``, whose process had the delivery already, while ``run`` began."""
        wanted = self.wanted.get(run.job)
        if again is None or wanted is None or fault.pid != again.pid:
            return False
        return wanted.at <= fault.at <= run.at <= again.at <= fault.until + self._settle_within_s

    def _since(self, fault: Fault, run: _Execution) -> float:
        """Return from when on a fault may have hit what an execution stands for: a broker has it before it runs."""
        wanted = self.wanted.get(run.started.job)
        return wanted.at if fault.pid is None and wanted is not None else run.started.at

    def _sent_twice(self, fault: Fault, job: str, again_at: float) -> bool:
        """Whether its producer may have sent a job once more, since a fault took the confirm of the first time."""
        wanted = self.wanted.get(job)
        if wanted is None or fault.pid not in (None, wanted.pid) or fault.at > again_at:
            return False
        return wanted.at <= fault.until and fault.at <= self.confirmed.get(job, wanted.at + _SENT_S)

    def _copied(self, fault: Fault, job: str, again_at: float) -> bool:
        """Whether a fault may have hit a worker that had sent a copy of a job, and not yet settled the job itself."""
        return any(
            fault.pid == back.pid
            and fault.at <= again_at
            and back.at <= fault.until
            and fault.at <= back.at + self._settle_within_s
            for back in self.given_back.get(job, ())
        )

    def _jumps(self, wanted: Wanted, began: float) -> tuple[Fault, ...]:
        """Return the faults after which a job may be early: its sender's clock was wrong while it was sent."""
        sent_by = self.confirmed.get(wanted.job, began)
        return tuple(
            fault
            for fault in self.faults
            if fault.what == CLOCK_JUMP and fault.pid == wanted.pid and wanted.at <= fault.until and fault.at <= sent_by
        )

    def _away(self, fault: Fault, record: Unanswered) -> bool:
        """Whether a fault was there, or just over, when a caller gave up."""
        wanted = self.wanted.get(record.job)
        its_own = fault.pid is None or (wanted is not None and fault.pid == wanted.pid)
        return its_own and fault.at <= record.at <= fault.until + _REPLIED_S

    def _homeless(self, fault: Fault, record: Unanswered, ready: float) -> bool:
        """Whether the node of the reply queue may have been away between a call and its reply."""
        wanted = self.wanted.get(record.job)
        called = ready if wanted is None else wanted.at
        return fault.what.startswith(NODE_LOST) and called <= fault.until and fault.at <= ready + _REPLIED_S


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


def _by_job(records: list[GivenBack]) -> dict[str, list[GivenBack]]:
    found: dict[str, list[GivenBack]] = defaultdict(list)
    for record in records:
        found[record.job].append(record)
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
