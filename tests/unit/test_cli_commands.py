"""What the commands print, typed into this process. Real processes are in `tests/process/test_cli_commands.py`."""

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq import TaskQ
from taskq.broker.protocol import Outgoing, QueueState
from taskq.broker.sqlite.inspector import SqliteInspector
from taskq.wire.message import Message
from tests.support.typed import Typed, typed_in

SHOP = """
from __future__ import annotations
from contextlib import asynccontextmanager
from pathlib import Path
from taskq import Context, Exponential, Fixed, Queue, Reject, RetryPolicy, TaskQ

@asynccontextmanager
async def lifespan():
    yield "the state"

app = TaskQ("shop", lifespan=lifespan, log_level="ERROR")
app.add_queue(Queue("fast", concurrency=4, type="classic", max_priority=3))

@app.task(context=True)
async def about(ctx: Context[str], *extra: int, **more: int) -> list[str | int]:
    return [ctx.state, ctx.task, ctx.attempt, Context.current().queue, *extra, *more.values()]

@app.task(queue="fast", timeout=1.5, retry=RetryPolicy(attempts=3, backoff=Fixed(0.01)))
def fail(text: str = "boom") -> None:
    if not Path("mended").exists():
        raise ValueError(text)

@app.task
async def refuse() -> None:
    raise Reject("never")

@app.task
async def wrong() -> int:
    return "text"

@app.remote("charge", queue="billing")
def charge(cents: int) -> None:
    raise NotImplementedError

def make() -> TaskQ:
    return app
"""


@pytest.fixture
def taskq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    with typed_in(tmp_path, {"shop": SHOP}, monkeypatch, capfd) as typed:
        yield typed


def test_version_is_printed(taskq: Typed) -> None:
    assert taskq("version") == (0, "0.1.0\n", "")


def test_tasks_are_a_table_with_signatures_as_they_were_written(taskq: Typed) -> None:
    status, out, err = taskq("tasks", "shop:app")
    head, about, charge, fail, *_ = out.splitlines()
    assert (status, err) == (0, "")
    assert head.split("  ")[0] == "task"
    assert about.startswith("about(*extra: int, **more: int) -> list[str | int]  ")
    assert charge.split("  ")[0] == "charge(cents: int) -> None"
    assert [cell.strip() for cell in fail.split("  ") if cell.strip()] == [
        "fail(text: str = 'boom') -> None", "fast", "1.5 s", "3 attempts, every 0.01 s", "thread", "shop:18",
    ]  # fmt: skip


def test_tasks_as_json_say_the_same(taskq: Typed) -> None:
    about, charge, fail, *_ = json.loads(taskq("tasks", "shop:app", "--json")[1])
    assert (about["name"], about["queue"], about["timeout_s"], about["attempts"]) == ("about", "default", 900.0, 1)
    assert (charge["runs_in"], charge["timeout_s"], charge["attempts"]) == ("other code", None, None)
    assert (fail["timeout_s"], fail["attempts"], fail["module"], fail["line"]) == (1.5, 3, "shop", 18)


@pytest.mark.parametrize("reference", ["shop:app", "shop:make", "shop"])
def test_the_app_can_be_an_object_a_factory_or_the_only_one_of_a_module(taskq: Typed, reference: str) -> None:
    assert taskq("run", reference, "fail")[0] == 1
    Path("mended").touch()
    assert taskq("run", reference, "fail", "{}") == (0, "null\n", "")


def test_the_environment_names_the_app(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_APP", "shop:app")
    assert taskq("ping", "-q") == (0, "", "")
    assert taskq("dead", "list", "fast") == (0, "no dead letters of fast\n", "")


def test_run_enters_the_lifespan_and_gives_a_context(taskq: Typed) -> None:
    status, out, err = taskq("run", "shop:app", "about", '{"extra": [7], "other": 8}')
    assert (status, json.loads(out), err) == (0, ["the state", "about", 1, "default", 7, 8], "")
    assert not Path("broker.db").exists()


def test_run_shows_the_users_traceback_and_says_other_ends_in_one_line(taskq: Typed, tmp_path: Path) -> None:
    status, out, err = taskq("run", "shop:app", "fail", '{"text": "red \\u001b[31m"}')
    assert (status, out) == (1, "")
    assert err.splitlines()[1] == f'  File "{tmp_path / "shop.py"}", line 21, in fail'
    assert err.splitlines()[-1] == "ValueError: red \\x1b[31m"
    assert taskq("run", "shop:app", "refuse") == (1, "", "taskq: refuse ended with Reject: never\n")
    status, _, err = taskq("run", "shop:app", "wrong")
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith("taskq: wrong: result: ")


def test_check_says_each_step_and_declares_nothing(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_CONCURRENCY", "2")
    for _ in range(2):
        status, out, err = taskq("check", "shop:app")
        assert (status, err) == (0, "")
        assert out.splitlines() == [
            "app       'shop' from shop:app",
            "settings  concurrency=2 (TASKQ_CONCURRENCY), log_level=ERROR",
            "tasks     4 of its own, 1 remote",
            f"broker    sqlite:///{Path.cwd()}/broker.db answers",
            "queues    a worker consumes 2",
            "          default × 2  would be declared",
            "          fast × 4     would be declared  priorities to 3",
        ]
    taskq("send", "shop:app", "fail", "--delay", "60")
    assert "fast × 4     there: 0 ready, 1 delayed, 0 consumers  priorities to 3" in taskq("check", "shop:app")[1]


def test_check_says_what_the_broker_does_not_tell(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def queues(self: SqliteInspector, names: object = ()) -> list[QueueState]:
        return [QueueState("fast", 2, None, None, 1), QueueState("fast.dead", 0, None, None, 0)]

    monkeypatch.setattr(SqliteInspector, "queues", queues)
    status, out, _ = taskq("check", "shop:app")
    assert status == 0
    assert out.splitlines()[-2:] == [
        "          fast × 4     there: 2 ready, ? delayed, 1 consumers  priorities to 3",
        "          ?: the broker does not tell how many jobs are delayed",
    ]


def test_check_refuses_a_missing_queue_that_its_owner_declares(taskq: Typed) -> None:
    with Path("shop.py").open("a") as file:
        file.write('\napp.add_queue(Queue("theirs", declare=False))\n@app.task(queue="theirs")\ndef f() -> None: ...\n')
    status, out, err = taskq("check", "shop:app")
    assert status == 3
    assert "theirs × 1   missing" in out
    assert err == "taskq: no queue 'theirs', and declare=False leaves it to its owner\n"


def test_ping_says_how_fast_the_broker_answers(taskq: Typed) -> None:
    status, out, err = taskq("ping", "shop:app")
    assert (status, err) == (0, "")
    assert out.startswith(f"sqlite:///{Path.cwd()}/broker.db answers after ")


def test_dead_letters_are_listed_shown_put_back_and_dropped(taskq: Typed) -> None:
    for job_id in ("first", "second"):
        taskq("send", "shop:app", "fail", '{"text": "red \\u001b[31m"}', "--job-id", job_id)
        assert taskq("worker", "shop:app", "--burst")[0] == 1  # one by one: retried jobs have no order

    head, first, second = taskq("dead", "list", "shop:app", "fast")[1].splitlines()
    assert head.split() == ["job", "task", "reason", "error", "attempts", "died", "at"]
    assert first.split()[:6] == ["first", "fail", "failed", "ValueError:", "red", "\\x1b[31m"]
    assert second.startswith("second")
    letters = json.loads(taskq("dead", "list", "shop:app", "fast.dead", "--json")[1])
    assert [(letter["job_id"], letter["attempts"]) for letter in letters] == [("first", 3), ("second", 3)]
    limited = taskq("dead", "list", "shop:app", "fast", "--limit", "1")[1].splitlines()
    assert (len(limited), limited[-1]) == (3, "there are more than 1; --limit shows more")

    shown = taskq("dead", "show", "shop:app", "fast", "first")[1]
    assert "\x1b" not in shown
    for part in (
        "reason     failed",
        "attempts   3",
        "raise ValueError(text)",
        "correlation_id: first",
        "taskq-attempt",
    ):
        assert part in shown
    whole = json.loads(taskq("dead", "show", "shop:app", "fast", "first", "--json")[1])
    assert whole["body"] == {"text": "red \x1b[31m"}
    assert (whole["properties"]["type"], whole["error_type"]) == ("fail", "ValueError")
    assert "taskq-error-message" not in whole["headers"]

    assert taskq("dead", "drop", "shop:app", "fast", "first", "third")[0] == 1
    assert taskq("dead", "retry", "shop:app", "fast", "first") == (0, "put 1 dead letter back on fast\n", "")
    assert taskq("dead", "drop", "shop:app", "fast", "--all") == (0, "dropped 1 dead letter of fast\n", "")
    Path("mended").touch()
    assert taskq("worker", "shop:app", "--burst")[0] == 0
    assert taskq("dead", "list", "shop:app", "fast") == (0, "no dead letters of fast\n", "")
    assert taskq("dead", "list", "shop:app", "fast", "--json")[1] == "[]\n"
    assert taskq("dead", "retry", "shop:app", "fast", "--all")[1] == "put 0 dead letters back on fast\n"


async def put(queue: str, *bodies: bytes) -> None:
    """Publish messages as a foreign program does."""
    async with TaskQ("foreign") as app:
        for number, body in enumerate(bodies):
            message = Message(body=body, message_id=str(number), content_type=None, headers={"x-own": "\x07"})
            await app.connection.broker.publish(Outgoing(message, queue), timeout_s=5)


@pytest.mark.parametrize(
    ("body", "key", "value", "text"),
    [
        (b'{"a": 1', "body_text", '{"a": 1', '{"a": 1'),
        (b"\xff\x00", "body_base64", "/wA=", "/wA="),
        (b"", "body_text", "", "(empty)"),
    ],
)
def test_a_dead_letter_of_any_bytes_can_be_shown(taskq: Typed, body: bytes, key: str, value: str, text: str) -> None:
    taskq("send", "shop:app", "fail", "--delay", "3600")  # declares the queues
    asyncio.run(put("fast", body))
    assert taskq("worker", "shop:app", "--burst", "--queue", "fast")[0] == 1
    (letter,) = json.loads(taskq("dead", "list", "shop:app", "fast", "--json")[1])
    assert letter["task"] is None
    whole = json.loads(taskq("dead", "show", "shop:app", "fast", letter["job_id"], "--json")[1])
    assert whole[key] == value
    shown = taskq("dead", "show", "shop:app", "fast", letter["job_id"])[1]
    assert f"body\n    {text}\n" in shown
    assert "\x07" not in shown


def test_on_a_terminal_there_are_a_banner_and_drawn_tables(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    taskq("send", "shop:app", "fail", '{"text": "[bold]red"}')
    status, _, err = taskq("worker", "shop:app", "--burst", "--queue", "fast=7")
    assert status == 1
    banner = err.replace("\x1b[2m", "").replace("\x1b[0m", "")
    assert f"  broker  sqlite:///{Path.cwd()}/broker.db\n" in banner
    assert "  queues  fast × 7\n" in banner
    assert "  tasks   fail\n" in banner
    drawn = taskq("dead", "list", "shop:app", "fast")[1]
    assert "───" in drawn
    assert "[bold]red" in drawn


def test_on_a_terminal_the_broker_is_named_once(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    _, _, err = taskq("worker", "shop:app", "--burst", "--log-level", "info")
    assert f"INFO    broker sqlite:///{Path.cwd()}/broker.db\n" in err
    assert err.count("broker.db") == 1


def test_output_that_nobody_reads_on_is_no_failure(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        assert taskq("tasks", "shop:app")[0] == 0
