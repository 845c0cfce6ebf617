"""``taskq tasks``: what the app declares."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import typer

from taskq.cli.loading import load_app
from taskq.cli.options import AppDir, AsJson, Words, WordsCommand
from taskq.cli.table import show_json, show_table
from taskq.cli.words import Form, default_app, split
from taskq.tasks.definition import Handler, TaskDefinition
from taskq.tasks.registry import Registry
from taskq.tasks.retry import Exponential, Fixed, Linear, RetryPolicy
from taskq.tasks.subscription import Subscription

command = typer.Typer(add_completion=False, rich_markup_mode=None)
_FORM = Form()
_PLACES = {"async": "event loop", "thread": "thread", "process": "process", "remote": "other code"}


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task or a subscription as it is shown.

    ``timeout_s`` and ``attempts`` are ``None`` for a stub: its own program decides. ``queue`` is ``None`` for a
    temporary subscription; ``exchange`` is, for a task; ``selects``: what a subscription gets of its exchange.
    """

    name: str
    signature: str
    queue: str | None
    exchange: str | None
    selects: str
    timeout_s: float | None
    attempts: int | None
    retry: str
    runs_in: str
    module: str
    line: int | None


@command.command(cls=WordsCommand, options_metavar=_FORM.usage)
def tasks(
    words: Words = None,
    *,
    as_json: AsJson = False,
    app_dir: AppDir = None,
) -> None:
    """List tasks and subscriptions of the app: signature, queue, time limit, retries, and where they run."""
    app = load_app(split(words or (), _FORM, default_app())[0], app_dir)
    registry = app.registry(app.settings())
    rows = [_row(task.definition, registry) for _, task in sorted(registry.tasks.items())]
    rows += [_row(subscription, registry) for _, subscription in sorted(registry.subscriptions.items())]
    if as_json:
        return show_json([{name: getattr(row, name) for name in TaskRow.__slots__} for row in rows])
    columns = ["task", "queue", "timeout", "retry", "runs in", "where"]
    return show_table(columns, [_cells(row) for row in rows], wide=0)


def _row(definition: TaskDefinition | Subscription, registry: Registry) -> TaskRow:
    subscription = definition if isinstance(definition, Subscription) else None
    own = definition.run != "remote"
    policy = registry.retry_of(definition)
    code = getattr(inspect.unwrap(definition.function), "__code__", None)
    return TaskRow(
        name=definition.name,
        signature=signature_text(definition),
        queue=definition.queue,
        exchange=subscription.exchange.name if subscription else None,
        selects=subscription.selects if subscription else "",
        timeout_s=registry.timeout_of(definition) if own else None,
        attempts=policy.attempts if own else None,
        retry=retry_text(policy) if own else "",
        runs_in=_PLACES[definition.run],
        module=definition.module,
        line=getattr(code, "co_firstlineno", None),
    )


def _cells(row: TaskRow) -> list[str]:
    timeout = "" if row.timeout_s is None else f"{row.timeout_s:g} s"
    queue = row.queue or "(temporary)"
    if row.exchange is not None:
        queue = f"{queue} ← {row.exchange} {row.selects}".rstrip()
    return [f"{row.name}{row.signature}", queue, timeout, row.retry, row.runs_in, f"{row.module}:{row.line or '?'}"]


def signature_text(definition: Handler) -> str:
    """Return the signature as it was written, without the Context."""
    signature = inspect.signature(definition.function)
    parameters = list(signature.parameters.values())[1 if definition.context else 0 :]
    shown = ", ".join(_parameter(p) for p in parameters)
    returns = "" if signature.return_annotation is signature.empty else f" -> {_type(signature.return_annotation)}"
    return f"({shown}){returns}"


def retry_text(policy: RetryPolicy) -> str:
    """Return a policy in a few words: ``5 attempts, exponential from 1 s``."""
    if policy.attempts == 1:
        return "no"
    match policy.backoff:
        case Fixed(delay):
            wait = f"every {_seconds(delay)}"
        case Linear(step):
            wait = f"linear by {_seconds(step)}"
        case Exponential(base):
            wait = f"exponential from {_seconds(base)}"
    return f"{policy.attempts} attempts, {wait}"


def _parameter(parameter: inspect.Parameter) -> str:
    stars = (
        "*" if parameter.kind is parameter.VAR_POSITIONAL else "**" if parameter.kind is parameter.VAR_KEYWORD else ""
    )
    default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
    return f"{stars}{parameter.name}: {_type(parameter.annotation)}{default}"


def _type(annotation: object) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _seconds(duration: object) -> str:
    return f"{duration:g} s" if isinstance(duration, (int, float)) else str(duration)
