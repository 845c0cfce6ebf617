"""The command ``taskq`` itself: its commands by name, each loaded only when it is used.

``--help`` reads the one-line texts from here, so that it needs no app, no broker and no event loop.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from taskq.cli.complaint import Complaint, say, status_of
from taskq.cli.status import Status
from taskq.errors import TaskqError

_HELP = "Run and watch an asyncio task queue. MODULE:APP names the app; leave it out when TASKQ_APP is set."

_COMMANDS = {
    "worker": "Run jobs until a signal stops it.",
    "send": "Enqueue a job, and with --wait print its result.",
    "publish": "Publish an event to an exchange.",
    "listen": "Print the events of an exchange as they come.",
    "run": "Run a task here and now, without a broker.",
    "tasks": "List the tasks and subscriptions of the app.",
    "check": "Check the app, its settings and the broker; change nothing.",
    "ping": "Say whether the broker answers, for probes.",
    "queues": "List the queues of the broker, and what is in them.",
    "exchanges": "List the exchanges of the broker.",
    "bindings": "List which exchange passes what on to which queue; --prune removes stale ones.",
    "dead": "Look at dead letters, put them back, or drop them.",
    "version": "Print the version.",
}
_CONTEXT = {"help_option_names": ["-h", "--help"]}


class LazyCommand(TyperCommand):
    """A command whose module ``taskq.cli.<name>`` is imported when it is used. The module has a Typer, ``command``."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        module = import_module(f"taskq.cli.{self.name}")
        return typer.main.get_command(module.command).make_context(info_name, args, parent, **_CONTEXT, **extra)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (``sys.argv`` without arguments) and return the exit status."""
    if arguments is None:  # the process is ours
        # The cycle collector would go through all that is loaded, again and again; `taskq.cli.session.run` begins it.
        gc.disable()
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    # `Any`: the types behind typer's commands have moved between its releases
    commands: dict[str, Any] = {
        name: LazyCommand(name, short_help=text, rich_markup_mode=None) for name, text in _COMMANDS.items()
    }
    group: Any = TyperGroup(
        name="taskq",
        commands=commands,
        help=_HELP,
        no_args_is_help=True,
        context_settings=_CONTEXT,
        rich_markup_mode=None,
    )
    _open_standard_streams()
    try:
        status = group.main(given, prog_name="taskq", standalone_mode=False)
        sys.stdout.flush()
    except (Complaint, TaskqError) as error:
        say(error)
        return status_of(error)
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    except BrokenPipeError:  # `taskq tasks | head`: nobody reads on, which is no failure of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Status.OK
    except Exception as error:
        return _wrong_usage(error)
    return status if isinstance(status, int) else Status.OK


def _open_standard_streams() -> None:
    """Let streams that were closed by whoever started us (``>&-``) lead nowhere, so that no other file gets their
    numbers and what is printed has a place to go.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # for the life of the process
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _wrong_usage(error: Exception) -> int:
    """Say what is wrong with the arguments. Anything that is no complaint of the parser is raised again."""
    describe = getattr(error, "format_message", None)
    if describe is None:
        raise error
    context = getattr(error, "ctx", None)
    path = getattr(context, "command_path", "taskq")
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was asked for by giving no argument
        print(describe())
    else:
        say(f"{describe().rstrip('.')} (see {path} --help)")
    return Status.USAGE
