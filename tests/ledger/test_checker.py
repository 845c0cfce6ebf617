"""The checker: a clean history gives a clean report, and each planted violation is found, and nothing else."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ledger import (
    Answered,
    Confirmed,
    Dead,
    Ended,
    Expired,
    Fault,
    FinalState,
    GivenBack,
    History,
    Kind,
    Left,
    Outcome,
    Record,
    Refused,
    Report,
    Started,
    Unanswered,
    Wanted,
    check,
)
from tests.support.ledger.records import CLOCK_JUMP, NODE_LOST

KILL_PID = 66


@dataclass
class Story:
    """A history that is being told. Each method tells the life of one job; time only goes on."""

    now: float = 1000.0
    records: list[Record] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    jobs: int = 0

    def tick(self, seconds: float = 0.01) -> float:
        self.now += seconds
        return self.now

    def send(self, *, confirmed: bool = True, attempts: int = 1, delay: float | None = None) -> str:
        self.jobs += 1
        job = f"job-{self.jobs}"
        not_before = None if delay is None else self.now + delay
        self.records.append(Wanted(job=job, at=self.tick(), attempts=attempts, not_before=not_before))
        if confirmed:
            self.records.append(Confirmed(job=job, at=self.tick()))
        if not_before is not None:
            self.now = max(self.now, not_before)
        return job

    def run(
        self,
        job: str,
        outcome: Outcome | None = Outcome.RETURNED,
        *,
        attempt: int = 1,
        execution: int = 1,
        pid: int = 7,
    ) -> None:
        self.records.append(Started(job=job, at=self.tick(), pid=pid, attempt=attempt, execution=execution))
        if outcome is not None:
            end = Ended(job=job, at=self.tick(), pid=pid, attempt=attempt, execution=execution, outcome=outcome)
            self.records.append(end)

    def kill(self, pid: int | None) -> None:
        began = self.tick()
        self.records.append(Fault(what="SIGKILL", at=began, until=self.tick(), pid=pid))

    def die(self, job: str, reason: str = "failed", *, timed: bool = True) -> None:
        self.dead.append(Dead(job, "default", reason, self.tick() if timed else None))

    # Lives as they should be.

    def plain(self) -> None:
        self.run(self.send())

    def delayed(self) -> None:
        self.run(self.send(delay=0.5))

    def retried(self) -> None:
        job = self.send(attempts=3)
        self.run(job, Outcome.FAILED, attempt=1, execution=1)
        self.run(job, Outcome.SNOOZED, attempt=2, execution=2)
        self.run(job, Outcome.RETURNED, attempt=2, execution=3)

    def exhausted(self) -> None:
        job = self.send(attempts=2)
        self.run(job, Outcome.FAILED, attempt=1, execution=1)
        self.run(job, Outcome.FAILED, attempt=2, execution=2)
        self.die(job)

    def never_decoded(self) -> None:
        self.die(self.send(), "undecodable")

    def expired(self) -> None:
        self.records.append(Expired(job=self.send(), at=self.tick()))

    def called(self) -> None:
        job = self.send()
        self.run(job)
        self.records.append(Answered(job=job, at=self.tick(), of=job))

    def killed_while_running(self) -> None:
        job = self.send()
        self.run(job, None, pid=KILL_PID)
        self.kill(KILL_PID)
        self.run(job, execution=2)

    def killer(self) -> None:
        job = self.send()
        self.run(job, None, pid=KILL_PID)
        self.kill(KILL_PID)
        self.die(job, "delivery-limit", timed=False)

    def handed_back(self) -> None:
        job = self.send()
        self.run(job, Outcome.CUT)
        self.run(job, execution=2)

    def ran_unconfirmed(self) -> None:
        self.run(self.send(confirmed=False))

    def sent_in_vain(self) -> None:
        self.send(confirmed=False)

    def refused(self) -> None:
        self.records.append(Refused(job=self.send(confirmed=False), at=self.tick(), why="no queue"))

    def answered_too_late(self) -> None:
        job = self.send()
        self.give_up(job, after_s=60)
        self.run(job)

    def unanswered_while_the_broker_was_away(self) -> None:
        job = self.send()
        self.run(job)
        self.now += 60
        began = self.tick()
        self.give_up(job)
        self.records.append(Fault(what="broker away", at=began, until=self.tick()))

    def unanswered_since_the_node_of_its_reply_queue_was_lost(self) -> None:
        self.now += 60
        job = self.send()
        began = self.tick()
        self.run(job)
        self.records.append(Fault(what=f"{NODE_LOST}: SIGKILL", at=began, until=self.tick()))
        self.give_up(job, after_s=60)

    def given_back(self) -> None:
        job = self.send()
        self.give_back(job)
        self.run(job, pid=8)

    def give_back(self, job: str, *, pid: int = 7) -> None:
        self.records.append(GivenBack(job=job, at=self.tick(), pid=pid))

    def give_up(self, job: str, *, after_s: float = 0.01) -> None:
        self.records.append(Unanswered(job=job, at=self.tick(after_s), why="no result in time"))

    # Violations.

    def ran_though_refused(self) -> str:
        job = self.send(confirmed=False)
        self.records.append(Refused(job=job, at=self.tick(), why="no queue"))
        self.run(job)
        return job

    def dead_though_refused(self) -> str:
        job = self.send(confirmed=False)
        self.records.append(Refused(job=job, at=self.tick(), why="no queue"))
        self.run(job, Outcome.FAILED)
        self.die(job)
        return job

    def failed_again_and_again_at_one_attempt(self) -> str:
        job = self.send(attempts=2)
        for execution in (1, 2, 3):
            self.run(job, Outcome.FAILED, attempt=1, execution=execution)
        self.die(job)
        return job

    def result_that_never_came(self) -> str:
        job = self.send()
        self.run(job)
        self.give_up(job, after_s=60)
        return job

    def lost_before_it_ran(self) -> str:
        return self.send()

    def lost_while_it_ran(self) -> str:
        job = self.send()
        self.run(job, None)
        return job

    def lost_after_a_failure(self) -> str:
        job = self.send(attempts=3)
        self.run(job, Outcome.FAILED)
        return job

    def lost_after_a_hand_back(self) -> str:
        job = self.send()
        self.run(job, Outcome.CUT)
        return job

    def returned_twice(self) -> str:
        job = self.send()
        self.run(job)
        self.run(job, execution=2)
        return job

    def returned_twice_in_one_process(self) -> str:
        job = self.send()
        self.run(job)
        self.run(job)
        return job

    def returned_and_dead(self) -> str:
        job = self.send()
        self.run(job)
        self.die(job, "delivery-limit", timed=False)
        return job

    def dead_twice(self) -> str:
        job = self.send()
        self.run(job, Outcome.FAILED)
        self.die(job)
        self.die(job)
        return job

    def returned_and_expired(self) -> str:
        job = self.send()
        self.run(job)
        self.records.append(Expired(job=job, at=self.tick()))
        return job

    def ran_uncalled(self) -> str:
        self.run("stranger")
        return "stranger"

    def dead_uncalled(self) -> str:
        self.die("stranger")
        return "stranger"

    def early(self) -> str:
        job = self.send(delay=5)
        self.now -= 0.1
        self.run(job)
        return job

    def answered_wrongly(self) -> str:
        job = self.send()
        self.run(job)
        self.records.append(Answered(job=job, at=self.tick(), of="job-of-another"))
        return job

    def tried_too_often(self) -> str:
        job = self.send(attempts=2)
        self.run(job, Outcome.FAILED, attempt=1, execution=1)
        self.run(job, Outcome.FAILED, attempt=2, execution=2)
        self.run(job, attempt=3, execution=3)
        return job

    def still_there(self) -> str:
        job = self.send()
        self.left.append(Left("default", job))
        return job

    def uncounted_there(self) -> str:
        self.left.append(Left("default", count=3))
        return "unknown"

    def report(self, **options: float) -> Report:
        return check(History(tuple(self.records)), FinalState(tuple(self.dead), tuple(self.left)), **options)


CLEAN: list[Callable[[Story], None]] = [
    Story.plain,
    Story.delayed,
    Story.retried,
    Story.exhausted,
    Story.never_decoded,
    Story.expired,
    Story.called,
    Story.killed_while_running,
    Story.killer,
    Story.handed_back,
    Story.given_back,
    Story.ran_unconfirmed,
    Story.sent_in_vain,
    Story.refused,
    Story.answered_too_late,
    Story.unanswered_while_the_broker_was_away,
    Story.unanswered_since_the_node_of_its_reply_queue_was_lost,
]
VIOLATIONS: list[tuple[Kind, Callable[[Story], str]]] = [
    (Kind.LOST, Story.lost_before_it_ran),
    (Kind.LOST, Story.lost_while_it_ran),
    (Kind.LOST, Story.lost_after_a_failure),
    (Kind.LOST, Story.lost_after_a_hand_back),
    (Kind.DUPLICATED, Story.returned_twice),
    (Kind.DUPLICATED, Story.returned_twice_in_one_process),
    (Kind.DUPLICATED, Story.returned_and_dead),
    (Kind.DUPLICATED, Story.dead_twice),
    (Kind.DUPLICATED, Story.returned_and_expired),
    (Kind.NEVER_ENQUEUED, Story.ran_uncalled),
    (Kind.NEVER_ENQUEUED, Story.dead_uncalled),
    (Kind.REFUSED, Story.ran_though_refused),
    (Kind.REFUSED, Story.dead_though_refused),
    (Kind.REPEATED, Story.failed_again_and_again_at_one_attempt),
    (Kind.UNANSWERED, Story.result_that_never_came),
    (Kind.EARLY, Story.early),
    (Kind.WRONG_CALLER, Story.answered_wrongly),
    (Kind.ABOVE_POLICY, Story.tried_too_often),
    (Kind.LEFT_OVER, Story.still_there),
    (Kind.LEFT_OVER, Story.uncounted_there),
]
lives = st.lists(st.sampled_from(CLEAN), max_size=15)


@given(lives, st.randoms(use_true_random=False))
def test_a_clean_history_gives_a_clean_report_in_whatever_order_it_is_read(
    told: list[Callable[[Story], None]], rng: random.Random
) -> None:
    story = Story()
    for life in told:
        life(story)
    rng.shuffle(story.records)
    assert story.report().findings == ()


@pytest.mark.parametrize(("kind", "violation"), VIOLATIONS, ids=lambda value: getattr(value, "__name__", None))
@given(before=lives, after=lives, rng=st.randoms(use_true_random=False))
def test_a_planted_violation_is_found_and_nothing_else(
    kind: Kind,
    violation: Callable[[Story], str],
    before: list[Callable[[Story], None]],
    after: list[Callable[[Story], None]],
    rng: random.Random,
) -> None:
    story = Story()
    for life in before:
        life(story)
    job = violation(story)
    for life in after:
        life(story)
    rng.shuffle(story.records)
    report = story.report()
    assert [(finding.kind, finding.job) for finding in report.violations] == [(kind, job)]
    assert report.findings == report.violations
    assert job in str(report)


def duplicate(*, pid: int | None, after_s: float = 0.0, before_the_first: bool = False) -> Report:
    """A job that returned in process 7 and again in 8, with a fault in between (or before both)."""
    story = Story()
    job = story.send()
    if before_the_first:
        story.kill(pid)
    story.run(job, pid=7)
    story.tick(after_s)
    if not before_the_first:
        story.kill(pid)
    story.run(job, pid=8, execution=2)
    return story.report(settle_within_s=1.0)


@pytest.mark.parametrize("pid", [7, None])
def test_a_duplicate_is_explained_by_a_fault_that_hit_its_first_execution(pid: int | None) -> None:
    report = duplicate(pid=pid)
    assert [finding.kind for finding in report.findings] == [Kind.DUPLICATED]
    assert [fault.pid for fault in report.findings[0].faults] == [pid]
    assert report.violations == ()
    assert "may be due to SIGKILL" in str(report)


def test_a_fault_of_another_process_explains_no_duplicate() -> None:
    assert [finding.kind for finding in duplicate(pid=9).violations] == [Kind.DUPLICATED]


def test_the_repetition_cannot_explain_itself() -> None:
    assert [finding.kind for finding in duplicate(pid=8).violations] == [Kind.DUPLICATED]


def test_a_fault_long_after_the_first_end_explains_no_duplicate() -> None:
    assert [finding.kind for finding in duplicate(pid=7, after_s=5).violations] == [Kind.DUPLICATED]


def test_a_fault_before_the_first_execution_explains_no_duplicate() -> None:
    assert [finding.kind for finding in duplicate(pid=7, before_the_first=True).violations] == [Kind.DUPLICATED]


def test_a_kill_between_two_attempts_explains_two_chains_of_them() -> None:
    story = Story()
    job = story.send(attempts=2)
    story.run(job, Outcome.FAILED, pid=7)
    story.kill(7)  # after the copy for attempt 2 was stored, before the original was acknowledged
    story.run(job, pid=8, attempt=2, execution=2)
    story.run(job, Outcome.FAILED, pid=8, execution=2)
    story.run(job, pid=8, attempt=2, execution=3)
    assert story.report().violations == ()
    assert [finding.kind for finding in story.report().findings] == [Kind.DUPLICATED]


def given_back(*, pid: int, after_s: float = 0.0) -> Report:
    """A job that process 6 gave back, and 7 and 8 ran, with the death of a process after it was given back."""
    story = Story()
    job = story.send()
    story.give_back(job, pid=6)
    story.tick(after_s)
    story.kill(pid)
    story.run(job, pid=7)
    story.run(job, pid=8, execution=2)
    return story.report(settle_within_s=1.0)


def test_the_death_of_a_worker_that_gave_a_job_back_explains_that_it_ran_twice() -> None:
    assert given_back(pid=6).violations == ()
    assert [finding.kind for finding in given_back(pid=6).findings] == [Kind.DUPLICATED]


def test_a_worker_that_gave_a_job_back_explains_no_duplicate_by_dying_long_after_it() -> None:
    assert [finding.kind for finding in given_back(pid=6, after_s=5).violations] == [Kind.DUPLICATED]


def test_the_death_of_another_worker_than_that_which_gave_a_job_back_explains_no_duplicate() -> None:
    assert [finding.kind for finding in given_back(pid=5).violations] == [Kind.DUPLICATED]


def test_a_job_that_was_given_back_by_a_worker_that_died_may_have_two_chains_of_attempts() -> None:
    story = Story()
    job = story.send(attempts=2)
    story.give_back(job, pid=6)
    story.kill(6)
    for pid in (7, 8):
        story.run(job, Outcome.FAILED, pid=pid)
    for pid in (7, 8):
        story.run(job, pid=pid, attempt=2, execution=2)
    assert story.report().violations == ()


def sent_twice(*, at: float, until: float, pid: int | None) -> Report:
    """A job that was sent from 1 to 2 by process 5, and returned twice in process 7, with a fault of ``pid``."""
    wanted = Wanted(job="a", at=1, pid=5)
    runs = [Started(job="a", at=time, pid=7, attempt=1, execution=1) for time in (10, 20)]
    ends = [Ended(job="a", at=time, pid=7, attempt=1, execution=1, outcome=Outcome.RETURNED) for time in (10.5, 20.5)]
    fault = Fault(what="connections reset", at=at, until=until, pid=pid)
    history = History((wanted, Confirmed(job="a", at=2), *runs, *ends, fault))
    return check(history, FinalState(), settle_within_s=1.0)


@pytest.mark.parametrize("pid", [5, None])
def test_a_fault_of_its_producer_while_it_was_sent_explains_that_it_was_sent_twice(pid: int | None) -> None:
    assert sent_twice(at=1.5, until=1.6, pid=pid).violations == ()
    assert [finding.kind for finding in sent_twice(at=1.5, until=1.6, pid=pid).findings] == [Kind.DUPLICATED]


def test_a_fault_of_its_producer_after_the_confirm_explains_nothing() -> None:
    assert [finding.kind for finding in sent_twice(at=3, until=4, pid=5).violations] == [Kind.DUPLICATED]


def test_a_fault_of_the_broker_may_double_what_waits_there_until_it_was_settled() -> None:
    assert sent_twice(at=3, until=4, pid=None).violations == ()
    assert [finding.kind for finding in sent_twice(at=12, until=13, pid=None).violations] == [Kind.DUPLICATED]


def held_up(*, at: float, until: float, pid: int, sent: float = 1, outcome: Outcome = Outcome.RETURNED) -> Report:
    """A job that processes 7 and 8 ran, one from 10 on and the other from 20 on, with a pause of ``pid``."""
    records: list[Record] = [Wanted(job="a", at=sent, pid=5, attempts=1), Confirmed(job="a", at=sent + 1)]
    for began, runner in ((10, 7), (20, 8)):
        records.append(Started(job="a", at=began, pid=runner, attempt=1, execution=1))
        records.append(Ended(job="a", at=began + 0.5, pid=runner, attempt=1, execution=1, outcome=outcome))
    pause = Fault(what="long pause", at=at, until=until, pid=pid)
    dead = () if outcome is Outcome.RETURNED else (Dead("a", "default", "failed", 21.0),)
    return check(History((*records, pause)), FinalState(dead=dead), settle_within_s=1.0)


def test_a_process_that_was_held_up_with_a_delivery_may_run_what_another_has_run_meanwhile() -> None:
    assert held_up(at=5, until=19.5, pid=8).violations == ()
    assert [finding.kind for finding in held_up(at=5, until=19.5, pid=8).findings] == [Kind.DUPLICATED]


def test_what_a_process_that_was_held_up_runs_late_may_fail_once_more() -> None:
    assert held_up(at=5, until=19.5, pid=8, outcome=Outcome.FAILED).violations == ()
    violations = held_up(at=5, until=6, pid=8, outcome=Outcome.FAILED).violations
    assert [finding.kind for finding in violations] == [Kind.REPEATED]


@pytest.mark.parametrize(
    ("at", "until", "pid", "sent"),
    [
        pytest.param(5, 19.5, 9, 1, id="another process was held up"),
        pytest.param(5, 15, 8, 1, id="it had gone on long before it began"),
        pytest.param(12, 19.5, 8, 1, id="the other had begun before, so it got the job later"),
        pytest.param(5, 19.5, 8, 6, id="the job was sent after the pause began, so it cannot have had it"),
    ],
)
def test_a_pause_explains_no_repetition_of_what_its_process_did_not_have(
    at: float, until: float, pid: int, sent: float
) -> None:
    assert [finding.kind for finding in held_up(at=at, until=until, pid=pid, sent=sent).violations] == [Kind.DUPLICATED]


def test_a_fault_explains_one_more_chain_of_attempts_and_not_any_number() -> None:
    def chains(number: int) -> list[Kind]:
        story = Story()
        job = story.send(attempts=2)
        story.run(job, None, pid=KILL_PID)
        story.kill(KILL_PID)
        for execution in range(number):
            story.run(job, Outcome.FAILED, attempt=1, execution=execution)
            story.run(job, Outcome.FAILED, attempt=2, execution=execution)
        story.die(job)
        return [finding.kind for finding in story.report().violations]

    assert chains(2) == []
    assert chains(3) == [Kind.REPEATED]


def early(*, pid: int, at: float) -> Report:
    """A job of process 5, sent from 1 to 2, that ran at 3, before its ETA; with a clock jump of ``pid``."""
    records: list[Record] = [
        Wanted(job="a", at=1, pid=5, not_before=9),
        Confirmed(job="a", at=2),
        Started(job="a", at=3, pid=7, attempt=1, execution=1),
        Ended(job="a", at=4, pid=7, attempt=1, execution=1, outcome=Outcome.RETURNED),
        Fault(what=CLOCK_JUMP, at=at, until=at + 0.1, pid=pid),
    ]
    return check(History(tuple(records)), FinalState())


def test_a_clock_that_jumped_where_and_while_a_job_was_sent_explains_that_it_ran_early() -> None:
    assert [finding.kind for finding in early(pid=5, at=1.5).findings] == [Kind.EARLY]
    assert early(pid=5, at=1.5).violations == ()


@pytest.mark.parametrize(("pid", "at"), [(7, 1.5), (5, 2.5)])
def test_a_clock_that_jumped_elsewhere_or_later_explains_nothing(pid: int, at: float) -> None:
    assert [finding.kind for finding in early(pid=pid, at=at).violations] == [Kind.EARLY]


def test_three_ends_are_two_duplicates() -> None:
    story = Story()
    job = story.send()
    for execution in (1, 2, 3):
        story.run(job, execution=execution)
    assert len(story.report().of(Kind.DUPLICATED)) == 2


def test_one_end_belongs_to_one_start_only() -> None:
    story = Story()
    job = story.send()
    story.run(job, None)
    story.run(job)
    assert story.report().findings == ()


def test_a_start_at_its_very_eta_is_not_early() -> None:
    wanted = Wanted(job="a", at=1, not_before=5)
    started = Started(job="a", at=5, pid=1, attempt=1, execution=1)
    ended = Ended(job="a", at=6, pid=1, attempt=1, execution=1, outcome=Outcome.RETURNED)
    assert check(History((wanted, started, ended)), FinalState()).findings == ()
    early = replace(started, at=4.999)
    assert [f.kind for f in check(History((wanted, early, ended)), FinalState()).findings] == [Kind.EARLY]


def test_the_report_says_how_much_there_was_to_look_at() -> None:
    story = Story()
    for life in CLEAN:
        life(story)
    text = str(check(History(tuple(story.records), ("1-1.ledger",)), FinalState(tuple(story.dead))))
    assert "17 wanted, 14 confirmed, 18 executions, 15 ended, 3 dead; 4 faults, 1 torn ledgers" in text
    assert "lost 0" in text
