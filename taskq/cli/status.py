"""How a command ended, for whoever started it."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Exit statuses of every command; ``docs/reference/cli.md`` explains them."""

    OK = 0
    """Done; also a worker that was stopped by a signal."""

    FAILED = 1
    """A job died in a burst, the command's job failed or gave no result in time, or the user's own code raised."""

    USAGE = 2
    """Wrong usage: arguments, settings, or an app that cannot be loaded. Repeating it will not help."""

    BROKER = 3
    """The broker cannot be reached, refused, or took nothing. Repeating it later may help."""

    INTERRUPTED = 130
    """Ctrl-C ended a command that is no worker."""
