"""What a task raises to steer its own job: retry it, reject it, snooze it. These are no errors of taskq."""

from __future__ import annotations

from taskq.tasks.duration import Duration, seconds


class Retry(Exception):
    """Raise in a task: this attempt failed, try again.

    It counts an attempt: after the last one of the policy the job becomes a dead letter. ``after`` (a
    ``timedelta`` or seconds) replaces the policy's backoff; ``reason`` is kept as the job's last error.
    """

    after_s: float | None = None  # also of a subclass that does not call our `__init__`

    def __init__(self, reason: str = "the task asked for a retry", *, after: Duration | None = None) -> None:
        self.reason = reason
        self.after_s = None if after is None else seconds(after, "Retry(after)")
        super().__init__(reason)


class Reject(Exception):
    """Raise in a task: this job can never succeed. It becomes a dead letter at once, with ``reason``."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Snooze(Exception):
    """Raise in a task: not now. The job comes back after ``delay`` with the same attempt number.

    It counts no attempt, so a task may snooze as often as it likes; the job's expiry is the bound.
    """

    def __init__(self, delay: Duration) -> None:
        self.delay_s = seconds(delay, "Snooze(delay)")
        super().__init__(self.delay_s)  # what unpickling calls the class with, when a process pool hands it back

    def __str__(self) -> str:
        return f"snoozed for {self.delay_s:g} s"
