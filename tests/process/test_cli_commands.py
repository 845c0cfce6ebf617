"""The commands as a user runs them: real processes, an app of their own, one broker file.

What needs no process of its own is in `tests/unit/test_cli_commands.py` and `tests/unit/test_cli_errors.py`.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commandline import CommandLine, Said

NO_WORKER = "taskq: no worker consumes the queue 'default' at the moment; the job waits there for one"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[CommandLine]:
    with CommandLine(tmp_path) as opened:
        yield opened


def only_line(said: Said) -> str:
    """The one line for people; everything else on standard error is a log line."""
    (line,) = [line for line in said.err.splitlines() if not line.startswith("{")]
    assert "Traceback" not in said.err
    return line


def test_send_prints_the_result_of_a_worker_or_says_in_one_line_how_the_job_failed(shop: CommandLine) -> None:
    shop.start_worker()
    assert shop.run("send", "shop:app", "add", '{"a": 1}', "--wait") == Said(0, "3\n", "")
    failed = shop.run("send", "shop:app", "fail", '{"text": "boom"}', "--wait", "--job-id", "mine")
    assert (failed.status, failed.out) == (1, "")
    shown = "taskq dead show shop:app default mine"
    assert only_line(failed) == f"taskq: fail (failed): ValueError: boom [job mine]; see {shown}"


def test_sent_jobs_wait_for_a_burst_whose_status_says_whether_one_died(shop: CommandLine) -> None:
    sent = shop.run("send", "shop:app", "add", '{"a": 1}', "--job-id", "good")
    assert (sent.status, sent.out, only_line(sent)) == (0, "good\n", NO_WORKER)
    burst = shop.run("worker", "shop:app", "--burst")
    assert burst.status == 0
    events = [json.loads(line) for line in burst.err.splitlines()]
    assert [(e["job_id"], e["task"]) for e in events if e["event"] == "JobSucceeded"] == [("good", "add")]
    assert {e["event"] for e in events} >= {"AppOpened", "WorkerStarted", "WorkerStopped"}

    shop.run("send", "shop:app", "fail", '{"text": "boom"}', "--job-id", "bad")
    assert shop.run("worker", "shop:app", "--burst").status == 1
    assert shop.run("dead", "list", "shop:app", "default").out.splitlines()[1].split()[:3] == ["bad", "fail", "failed"]
    assert shop.run("dead", "retry", "shop:app", "default", "bad").out == "put 1 dead letter back on default\n"
    (shop.folder / "mended").touch()
    assert shop.run("worker", "shop:app", "--burst", "--processes", "2").status == 0


def test_ctrl_c_ends_a_wait_for_a_result_quietly_with_130(shop: CommandLine) -> None:
    waiting = shop.start("send", "shop:app", "add", '{"a": 1}', "--wait")
    waiting.until(lambda: waiting.log.endswith("\n"), "it says that no worker consumes")
    waiting.send_group(signal.SIGINT)
    assert waiting.ended() == 130
    assert waiting.log == f"{NO_WORKER}\n"


def test_modules_come_from_the_working_directory_or_another_folder(shop: CommandLine) -> None:
    arguments = ("add", '{"a": 4}')
    installed = Path(sys.executable).with_name("taskq")
    here = subprocess.run(
        [installed, "run", "shop:app", *arguments],
        cwd=shop.folder, env=shop.environment, capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    elsewhere = shop.run("run", "shop:app", *arguments, "--app-dir", str(shop.folder), cwd=Path("/"))
    assert (here.stdout, elsewhere) == ("6\n", Said(0, "6\n", ""))
    said = shop.run("run", "shop:app", *arguments, cwd=Path("/"))
    assert said.status == 2
    assert only_line(said).startswith("taskq: no module 'shop' in /")


def test_a_broker_that_cannot_be_opened_is_one_line_and_status_3(shop: CommandLine) -> None:
    url = f"sqlite:///{shop.folder}/missing/broker.db"
    for arguments in (["worker", "shop:app"], ["worker", "shop:app", "--processes", "2"]):
        said = shop.run(*arguments, TASKQ_URL=url)
        assert said.status == 3
        assert str(shop.folder / "missing") in only_line(said)


def test_a_lifespan_that_raises_shows_its_traceback_and_ends_with_1(shop: CommandLine) -> None:
    (shop.folder / "sad.py").write_text(
        "from contextlib import asynccontextmanager\n"
        "from taskq import TaskQ\n"
        "@asynccontextmanager\n"
        "async def lifespan():\n"
        "    raise OSError('no database')\n"
        "    yield\n"
        "app = TaskQ('sad', lifespan=lifespan)\n"
        "@app.task\n"
        "async def work() -> None: ...\n"
    )
    said = shop.run("worker", "sad:app")
    assert said.status == 1
    assert f'File "{shop.folder / "sad.py"}", line 5, in lifespan' in said.err
    assert said.err.endswith("OSError: no database\n")
    assert "taskq/cli" not in said.err


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_ends_no_command(shop: CommandLine, closed: str) -> None:
    for arguments in ("tasks shop:app", "send shop:app add '{\"a\": 1}'", "worker shop:app --burst"):
        ended = subprocess.run(
            ["sh", "-c", f"{sys.executable} -m taskq {arguments} {closed}"],
            cwd=shop.folder,
            env=shop.environment,
            timeout=30,
            check=False,
        )
        assert ended.returncode == 0, arguments


def test_help_and_version_load_no_command_and_nothing_heavy() -> None:
    code = (
        "import sys, taskq.cli\n"
        "status = taskq.cli.main([sys.argv[1]])\n"
        "heavy = {'fastapi', 'starlette', 'aio_pika', 'uvloop', 'taskq.cli.worker', 'taskq.cli.dead'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "sys.exit(status)\n"
    )
    for argument, expected in (("--help", "worker"), ("version", "0.1.0")):
        ended = subprocess.run(
            [sys.executable, "-c", code, argument], capture_output=True, text=True, timeout=30, check=True
        )
        assert expected in ended.stdout
