"""`taskq queues`, `exchanges` and `bindings`, typed into this process. RabbitMQ's are in `tests/integration`."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskq.broker.protocol import ExchangeState, Listing, QueueState
from taskq.broker.sqlite.broker import SqliteBroker
from taskq.broker.sqlite.inspector import SqliteInspector
from taskq.tasks.exchanges import Binding
from tests.support.typed import Typed, typed_in

SHOP = """
from taskq import Queue, TaskQ

app = TaskQ("shop", log_level="ERROR")
orders = app.exchange("orders", kind="topic", payload=str)
files = app.exchange("files", kind="headers", payload=str, durable=False)

@app.task(queue="images")
async def resize(url: str) -> None: ...

@orders.subscribe("order.paid", "order.*.late", queue="mail")
async def mail(order: str) -> None: ...

@files.subscribe(headers={"type": "pdf", "pages": 1}, match="any", queue="print")
async def put_on_paper(file: str) -> None: ...
"""
LATER = SHOP.replace('"order.paid", "order.*.late"', '"order.sent"').replace('"pages": 1', '"pages": 2')
PLAIN = "from taskq import TaskQ\napp = TaskQ('plain')\n\n@app.task\nasync def f() -> None: ...\n"


@pytest.fixture
def taskq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    modules = {"shop": SHOP, "later": LATER, "plain": PLAIN}
    with typed_in(tmp_path, modules, monkeypatch, capfd) as typed:
        yield typed


def words(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_queues_are_listed_with_what_is_in_them(taskq: Typed) -> None:
    taskq("send", "plain:app", "f")
    taskq("send", "plain:app", "f", "--delay", "60")
    status, out, err = taskq("queues", "plain:app")
    assert (status, err) == (0, "")
    assert words(out) == [
        ["queue", "ready", "unsettled", "delayed", "consumers"],
        ["default", "1", "0", "1", "0"],
        ["default.dead", "0", "0", "0", "0"],
    ]
    assert taskq("queues")[1] == out
    assert json.loads(taskq("queues", "--json")[1]) == {
        "source": f"the tables of sqlite:///{Path.cwd()}/broker.db",
        "unknown": None,
        "queues": [
            {"queue": "default", "ready": 1, "unsettled": 0, "delayed": 1, "consumers": 0},
            {"queue": "default.dead", "ready": 0, "unsettled": 0, "delayed": 0, "consumers": 0},
        ],
    }


def test_exchanges_and_bindings_are_listed(taskq: Typed) -> None:
    taskq("send", "shop:app", "resize", '{"url": "u"}')  # declares all of it
    assert words(taskq("exchanges")[1]) == [
        ["exchange", "kind", "durable"],
        ["files", "headers", "no"],
        ["orders", "topic", "yes"],
    ]
    assert json.loads(taskq("exchanges", "shop:app", "--json")[1])["exchanges"][0] == {
        "exchange": "files", "kind": "headers", "durable": False,
    }  # fmt: skip
    assert [line.split(maxsplit=4) for line in taskq("bindings")[1].splitlines()] == [
        ["exchange", "queue", "key", "match", "headers"],
        ["files", "print", "-", "any", "pages=1, type=pdf"],
        ["orders", "mail", "order.*.late", "-", "-"],
        ["orders", "mail", "order.paid", "-", "-"],
    ]
    assert json.loads(taskq("bindings", "--json")[1])["bindings"][:2] == [
        {"exchange": "files", "queue": "print", "key": "", "match": "any", "headers": {"pages": 1, "type": "pdf"}},
        {"exchange": "orders", "queue": "mail", "key": "order.*.late", "match": None, "headers": {}},
    ]


def test_looking_declares_nothing(taskq: Typed) -> None:
    taskq("ping", "plain:app")
    for what in ("queues", "exchanges", "bindings"):
        assert taskq(what, "shop:app") == (0, f"no {what}\n", "")
        assert taskq(what, "shop:app") == (0, f"no {what}\n", "")


def test_pruning_removes_what_the_program_no_longer_declares(taskq: Typed) -> None:
    taskq("send", "shop:app", "resize", '{"url": "u"}')
    assert taskq("bindings", "shop:app", "--prune") == (0, "nothing to remove\n", "")
    taskq("send", "later:app", "resize", '{"url": "u"}')
    assert taskq("bindings", "plain:app", "--prune") == (0, "nothing to remove\n", "")
    assert taskq("bindings", "later:app", "--prune") == (
        0,
        "removed files -> print (any of pages=1, type=pdf)\n"
        "removed orders -> mail (key 'order.*.late')\n"
        "removed orders -> mail (key 'order.paid')\n",
        "",
    )
    assert [line[:3] for line in words(taskq("bindings")[1])[1:]] == [
        ["files", "print", "-"],
        ["orders", "mail", "order.sent"],
    ]
    taskq("send", "shop:app", "resize", '{"url": "u"}')
    removed = json.loads(taskq("bindings", "shop:app", "--prune", "--json")[1])
    assert [binding["headers"] or binding["key"] for binding in removed] == [{"pages": 2, "type": "pdf"}, "order.sent"]
    assert json.loads(taskq("bindings", "shop:app", "--prune", "--json")[1]) == []


def test_what_the_broker_does_not_tell_is_a_dash_and_a_sentence(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    async def queues(self: SqliteInspector, names: set[str]) -> Listing[QueueState]:
        asked.append(set(names))
        return Listing([QueueState("images", 2, None, None, 1)], "passive declares", "there may be others: no API")

    async def exchanges(self: SqliteInspector, names: set[str]) -> Listing[ExchangeState]:
        asked.append(set(names))
        return Listing([ExchangeState("orders", None, None)], "passive declares", "there may be others: no API")

    monkeypatch.setattr(SqliteInspector, "list_queues", queues)
    monkeypatch.setattr(SqliteInspector, "list_exchanges", exchanges)
    status, out, err = taskq("queues", "shop:app")
    assert (status, err) == (0, "taskq: there may be others: no API\n")
    assert words(out)[1:] == [["images", "2", "-", "-", "1"]]
    status, out, err = taskq("exchanges", "shop:app")
    assert (status, err) == (0, "taskq: there may be others: no API\n")
    assert words(out)[1:] == [["orders", "-", "-"]]
    assert asked == [{"images", "mail", "print"}, {"orders", "files"}]
    status, out, err = taskq("queues", "shop:app", "--json")
    assert (status, err) == (0, "")
    document = json.loads(out)
    assert (document["source"], document["unknown"]) == ("passive declares", "there may be others: no API")
    assert document["queues"][0]["unsettled"] is None


def test_nothing_is_pruned_where_the_bindings_are_not_known(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    async def bindings(self: SqliteInspector) -> Listing[Binding]:
        return Listing([], "passive declares", "the bindings are not known: no API")

    monkeypatch.setattr(SqliteInspector, "list_bindings", bindings)
    for options in ((), ("--json",)):
        status, out, err = taskq("bindings", "shop:app", "--prune", *options)
        assert (status, out) == (3, "")
        assert err == "taskq: nothing was removed, since the bindings are not known: no API\n"


def test_queues_of_somebody_else_are_not_pruned(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Binding(exchange="orders", queue="mail", key="old")
    unbound: list[Binding] = []

    async def bindings(self: SqliteInspector) -> Listing[Binding]:
        return Listing([there], "the test")

    async def unbind(self: SqliteBroker, binding: Binding) -> None:
        unbound.append(binding)

    monkeypatch.setattr(SqliteInspector, "list_bindings", bindings)
    monkeypatch.setattr(SqliteBroker, "unbind", unbind, raising=False)
    Path("foreign.py").write_text(SHOP + "\napp.add_queue(Queue('mail', declare=False))\n")
    assert taskq("bindings", "foreign:app", "--prune")[1] == "nothing to remove\n"
    assert unbound == []
    assert taskq("bindings", "shop:app", "--prune")[1] == "removed orders -> mail (key 'old')\n"
    assert unbound == [there]


def test_names_cannot_steer_a_terminal_and_tables_are_drawn_there(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def queues(self: SqliteInspector, names: set[str]) -> Listing[QueueState]:
        return Listing([QueueState("[bold]\x1b[31mred", 2, 0, 0, 1)], "the test", "un\x1bknown")

    monkeypatch.setattr(SqliteInspector, "list_queues", queues)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    taskq("ping", "plain:app")
    _, out, err = taskq("queues")
    assert "───" in out
    assert "[bold]\\x1b[31mred" in out
    assert "\x1b" not in err


NO_BROKER = "no broker: set TASKQ_URL, or write MODULE:APP"
WRONG = {
    "TASKQ_URL= queues": (2, NO_BROKER),
    "TASKQ_URL= bindings": (2, NO_BROKER),
    "TASKQ_URL=memory:// queues": (2, "memory:// lives inside one program"),
    "TASKQ_URL=memory:// exchanges shop:app": (2, "memory:// lives inside one program"),
    "TASKQ_URL=amqp://u:secret@localhost:1 TASKQ_CONNECT_TIMEOUT=1 exchanges": (3, "connection refused"),
    "TASKQ_URL=amqp://localhost:1 TASKQ_MANAGEMENT_URL=u:secret@mq queues": (
        2,
        "management_url (TASKQ_MANAGEMENT_URL): it begins with http://",
    ),
    "queues nowhere:app": (2, "no module 'nowhere'"),
    "TASKQ_APP=nowhere:app queues": (2, "no module 'nowhere'"),
    "queues shop:app more": (2, "'more' is one argument too many"),
    "bindings --prune": (2, "--prune needs the app"),
}


@pytest.mark.parametrize("command", WRONG)
def test_what_is_wrong_is_one_line(taskq: Typed, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    settings = [word for word in command.split() if "=" in word]
    for setting in settings:
        monkeypatch.setenv(*setting.split("=", 1))
    status, expected = WRONG[command]
    got, out, err = taskq(*command.split()[len(settings) :])
    (line,) = err.splitlines()
    assert line.startswith("taskq: ")
    assert expected in line
    assert "secret" not in line
    assert (got, out) == (status, "")
    assert not Path("taskq.db").exists()


def test_the_default_file_is_looked_at_where_there_is_one(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TASKQ_URL")
    taskq("send", "plain:app", "f")
    assert words(taskq("queues")[1])[1:] == [["default", "1", "0", "0", "0"], ["default.dead", "0", "0", "0", "0"]]


def test_a_management_url_is_not_shown_by_check(taskq: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_MANAGEMENT_URL", "http://u:secret@mq:15672")
    assert "secret" not in "".join(map(str, taskq("check", "plain:app")))
