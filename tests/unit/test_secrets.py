"""A password in a URL comes out nowhere: in no error, nor what it is chained to, in no log, repr or command."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pamqp.frame
import pytest
from pamqp import commands

from taskq import TaskQ, TaskqError
from taskq.broker.amqp.endpoint import endpoints
from taskq.broker.amqp.location import read_location
from taskq.settings import Settings

SECRET = "hunt@r2/s3cr3t"
ENCODED = quote(SECRET, safe="")
NEEDLES = [
    *(SECRET, ENCODED, ENCODED.lower(), "hunt@r2", "s3cr3t"),
    base64.b64encode(f"ada:{SECRET}".encode()).decode().rstrip("="),
    base64.b64encode(f"\0ada\0{SECRET}".encode()).decode().rstrip("="),
]
PLAIN = "hunt3r2s3cr3t"  # where it is not quoted, for URLs that are wrong in another place


def leaks(text: str) -> list[str]:
    """Return the pieces of the secret that are in ``text``."""
    return [needle for needle in (*NEEDLES, PLAIN) if needle in text]


def told(error: BaseException | None) -> Iterator[str]:
    """Yield all that an error says, and those behind it, also where they are not meant to be shown."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield f"{type(each).__name__}: {each} {each!r} {each.args!r} {getattr(each, '__notes__', ())}"
            yield "".join(traceback.format_exception(type(each), each, each.__traceback__))
            waiting += [each.__cause__, each.__context__]


class Everything(logging.Handler):
    """Keeps every record of every logger, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(f"{record.getMessage()} {record.args!r} {vars(record)!r}")
        if record.exc_info:
            self.texts.extend(told(record.exc_info[1]))


@pytest.fixture
def logged() -> Iterator[Everything]:
    """All that is logged at level DEBUG, whoever logs it."""
    handler, root = Everything(), logging.getLogger()
    names = list(logging.root.manager.loggerDict)
    levels = {name: logging.getLogger(name).level for name in ("", *names)}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield handler
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def speaks_another_version(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"AMQP\x00\x00\x09\x01")
    writer.close()


async def refuses_the_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(pamqp.frame.marshal(commands.Connection.Start(0, 9, {"product": "RabbitMQ"}, "PLAIN", "en_US"), 0))
    await reader.read(65_536)
    refusal = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN"
    writer.write(pamqp.frame.marshal(commands.Connection.Close(403, refusal, 0, 0), 0))
    await asyncio.sleep(0)
    writer.close()


async def hangs_up_after_the_login(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(8)
    writer.write(pamqp.frame.marshal(commands.Connection.Start(0, 9, {"product": "RabbitMQ"}, "PLAIN", "en_US"), 0))
    await reader.read(65_536)
    writer.close()


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def said_by(url: Any, **settings: Any) -> list[str]:
    """Open an app, which fails; return all that the error says."""
    app: TaskQ[Any] = TaskQ("shop", url=url, connect_timeout=0.4, **settings)
    said = [repr(app), str(app)]
    with pytest.raises(TaskqError) as raised:
        async with app:
            pytest.fail("it was opened")
    return [*said, *told(raised.value)]


@pytest.mark.parametrize(
    "url", ["amqp://ada:{}@127.0.0.1:{}/", "amqps://ada:{}@127.0.0.1:{}", "amqp://ada:{}@127.0.0.1:{},127.0.0.1:{}/v"]
)
@pytest.mark.parametrize(
    "serve", [hangs_up, speaks_http, speaks_another_version, refuses_the_login, hangs_up_after_the_login]
)
async def test_what_answers_wrongly_is_told_without_the_password(url: str, serve: Serve, logged: Everything) -> None:
    asyncio.get_running_loop().set_debug(True)
    async with listening(serve) as port:
        said = await said_by(url.format(ENCODED, port, port))
    assert [leak for text in (*said, *logged.texts) for leak in leaks(text)] == []
    assert any("ada" in text for text in said), "the user is told"


@pytest.mark.parametrize(
    "url",
    [
        f"amqp://ada:{ENCODED}@127.0.0.1:1/",
        f"amqp://ada:{ENCODED}@127.0.0.1:1,127.0.0.1:2/vhost",
        f"amqps://ada:{ENCODED}@127.0.0.1:1/?cafile=/missing.pem&certfile=/missing.crt&keyfile=/missing.key",
        f"amqp://ada:{SECRET}@127.0.0.1:1/",
        f"amqp://ada:{PLAIN}@127.0.0.1:port/",
        f"amqp://ada:{PLAIN}@127.0.0.1:99999/",
        f"amqp://ada:{PLAIN}@127.0.0.1:0/",
        f"amqp://ada:{PLAIN}@[127.0.0.1/",
        f"amqp://ada:[{PLAIN}@127.0.0.1/",
        f"amqp://ada:{PLAIN}]@127.0.0.1/",
        f"amqp://ada:{PLAIN}@127.0.0.1\u2100/",
        f"amqp://ada:{PLAIN}\u2100@127.0.0.1/",
        f"amqp://ada:{PLAIN}%zz@127.0.0.1:1/",
        f"amqp://ada:{PLAIN}#@127.0.0.1/",
        f"amqp://ada:x?{PLAIN}@127.0.0.1/",
        f"amqp://ada:x?{PLAIN}",
        f"amqp://ada:{PLAIN} @127.0.0.1/",
        f"amqp://ada:{PLAIN}\n@127.0.0.1/",
        f"amqp://ada:{PLAIN}@",
        f"amqp://ada:{PLAIN}@,/",
        f"amqp://ada:{PLAIN}@127.0.0.1/?heartbeat=1",
        f"amqp://127.0.0.1/?password={PLAIN}",
        f"amqp:ada:{PLAIN}@127.0.0.1",
        f"amqp:/ada:{PLAIN}@127.0.0.1",
        f"ada:{PLAIN}@127.0.0.1:5672",
        f"ada:{PLAIN}@127.0.0.1/amqp://x",
        f"{PLAIN}",
        f"http://ada:{PLAIN}@127.0.0.1",
        f" amqp://ada:{PLAIN}@127.0.0.1",
        f"AMQP://ada:{PLAIN}@127.0.0.1:port",
        f"redis://:{PLAIN}@127.0.0.1/0",
        f"sqlite://ada:{PLAIN}@127.0.0.1/db",
        f"sqlite://ada:{PLAIN}@[127.0.0.1/db",
        f"sqlite:///x.db?password={PLAIN}",
        f"sqlite:ada:{PLAIN}@127.0.0.1/db",
        f"memory://ada:{PLAIN}@127.0.0.1",
        f"memory://ada:{PLAIN}@[x",
        ["amqp://ada:" + PLAIN + "@127.0.0.1"],
        ("amqp://ada:" + PLAIN + "@127.0.0.1").encode() + b"\xff",
        {"url": PLAIN},
    ],
    ids=lambda url: str(url).replace(ENCODED, "…").replace(PLAIN, "…").replace(SECRET, "…")[:60],
)
async def test_a_url_that_leads_nowhere_is_told_without_the_password(url: Any, logged: Everything) -> None:
    said = await said_by(url)
    assert [(leak, text) for text in (*said, *logged.texts) for leak in leaks(text)] == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://ada:{ENCODED}@127.0.0.1:1",
        f"ftp://ada:{PLAIN}@127.0.0.1",
        f"ada:{PLAIN}@127.0.0.1:15672",
        f"http://ada:{PLAIN}@[127.0.0.1",
        f"http://ada:{PLAIN}@127.0.0.1:port",
        f"http://ada:{PLAIN}@127.0.0.1\u2100",
        f"http://ada:{PLAIN}@127.0.0.1/?x",
        f"http://ada:{PLAIN} @127.0.0.1",
        [f"http://ada:{PLAIN}@127.0.0.1"],
    ],
    ids=lambda url: str(url).replace(ENCODED, "…").replace(PLAIN, "…")[:60],
)
async def test_nor_is_the_password_of_the_management_api(url: Any, logged: Everything) -> None:
    said = await said_by("amqp://guest:guest@127.0.0.1:1", management_url=url)
    assert [(leak, text) for text in (*said, *logged.texts) for leak in leaks(text)] == []


def test_reprs_leave_it_out() -> None:
    url, management = f"amqp://ada:{ENCODED}@one,two/v", f"https://ada:{ENCODED}@host/x"
    app: TaskQ[Any] = TaskQ("shop", url=url, management_url=management)
    location = read_location(url)
    settings = app.settings()
    shown = [
        repr(app),
        repr(settings),
        str(settings),
        repr(location),
        location.label,
        repr(endpoints(location, management)),
    ]
    shown += [each.label for each in endpoints(location)]
    assert [(leak, text) for text in shown for leak in leaks(text)] == []
    assert isinstance(settings, Settings)
    assert settings.url == url
    assert "concurrency=1" in repr(settings), "the others are shown"


COMMANDS = ["check shop:app", "ping shop:app", "queues", "exchanges", "bindings", "dead list shop:app default"]
COMMANDS += ["worker shop:app --burst --log-level DEBUG", "send shop:app f", "listen shop:app news", "tasks shop:app"]
BAD = [
    f"amqp://ada:{ENCODED}@127.0.0.1:1/",
    f"amqp://ada:{PLAIN}@127.0.0.1:port/",
    f"amqp:ada:{PLAIN}@127.0.0.1",
    f"sqlite://ada:{PLAIN}@127.0.0.1/db",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_it(command: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from taskq import TaskQ\napp = TaskQ('shop', connect_timeout=0.3)\n"
        "news = app.exchange('news', kind='fanout', payload=str)\n"
        "@app.task\nasync def f() -> None: ...\n"
    )
    running = [_command(command, url, tmp_path) for url in (BAD if command.startswith("check") else BAD[:3:2])]
    said = ["".join(each.communicate(timeout=60)) for each in running]
    assert [(leak, text) for text in said for leak in leaks(text)] == []
    assert command.startswith("tasks") or all(each.returncode in (2, 3) for each in running), said


def _command(command: str, url: str, folder: Path) -> subprocess.Popen[str]:
    variables = {
        "TASKQ_URL": url,
        "TASKQ_LOG_LEVEL": "DEBUG",
        "PYTHONASYNCIODEBUG": "1",
        "TASKQ_MANAGEMENT_URL": BAD[1],
    }
    return subprocess.Popen(
        [sys.executable, "-m", "taskq", *command.split()],
        cwd=folder,
        env={**os.environ, **variables, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
