"""The player of pages finds what it is there to find: planted faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide.page import PageError, on_rabbitmq, read_page
from tests.guide.stage import perform
from tests.guide.transcript import difference
from tests.support.waiting import eventually

FENCE = "```"


def block(text: str, language: str = "python", marks: str = "") -> str:
    comment = f"<!-- guide: {marks} -->\n" if marks else ""
    return f"{comment}{FENCE}{language}\n{text}\n{FENCE}\n\n"


APP = block(
    "from taskq import TaskQ\n\napp = TaskQ('shop')\n\n@app.task\nasync def double(n: int) -> int:\n    return 2 * n"
)


@pytest.mark.parametrize(
    "text",
    [
        APP + block("assert await double.call(4) == 8", marks="harness"),
        APP + block("print(await double(4))") + block("8", "text", "output"),
        APP + block("double.bind('x')\n# InvalidArguments: double: n: Input", marks="skip='the text is not whole'"),
        APP + block("double.bind()\n# InvalidArguments: double: n: is required", marks="raises=InvalidArguments"),
        block("x = 1", marks="file=a/b.py") + block("import a.b\nassert a.b.x == 1"),
        block("$ echo one\none\n$ echo two\ntwo", "console"),
        block("$ seq 3\n1\n...\n3", "console"),
        block("import re\nimport shlex", marks="part=tests/guide/page.py"),
        block("$ date +%T\n12:00:00", "console"),
        block("echo go\nexec sleep 60", "sh", "file=wait.sh")
        + block("$ bash wait.sh\ngo", "console", "background=A until=go"),
    ],
)
async def test_a_right_page_passes(text: str, tmp_path: Path) -> None:
    await perform(read_page("page.md", text), tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        block("assert False"),
        block("async def f():\n    raise AssertionError\nawait f()"),
        APP + block("assert await double.call(4) == 9", marks="harness"),
        APP + block("print(await double(4))") + block("9", "text", "output"),
        APP + block("double.bind(4)", marks="raises=InvalidArguments"),
        APP + block("double.bind()\n# InvalidArguments: double: n: is missing", marks="raises=InvalidArguments"),
        APP + block("1 / 0", marks="raises=InvalidArguments"),
        block("import re\nimport json", marks="part=tests/guide/page.py"),
        block("raise ImportError", marks="file=broken.py"),
        block("$ echo one\ntwo", "console"),
        block("$ seq 3\n1\n...\n4", "console"),
        block("make something", "sh"),
    ],
)
async def test_a_wrong_page_is_found(text: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ImportError, ZeroDivisionError)):
        await perform(read_page("page.md", text), tmp_path)


@pytest.mark.parametrize("marks", ["skpi='a reason that is long'", "skip", "skip=because"])
def test_a_mark_that_nobody_knows_or_without_its_reason_is_refused(marks: str) -> None:
    with pytest.raises(PageError):
        read_page("page.md", block("x = 1", marks=marks))


def test_a_language_that_would_not_be_run_is_refused() -> None:
    with pytest.raises(PageError, match="language 'py'"):
        read_page("page.md", block("x = 1", "py"))


def test_a_mark_that_stands_alone_is_refused() -> None:
    with pytest.raises(PageError, match="does not stand in front"):
        read_page("page.md", "<!-- guide: harness -->\n\nSome text.\n\n" + block("x = 1"))


def test_what_differs_from_run_to_run_is_no_difference() -> None:
    shown = "12:00:00.123 INFO  worker 12 of shop: done in 3 ms [job 01a20a53-f5e2-720c-806f-5642be1848c3]"
    real = "23:59:59.999 INFO  worker 99 of shop: done in 1.2 s [job 01a20a53-0000-720c-806f-000000000000]"
    assert difference(shown, real) == ""
    assert difference(shown, real.replace("shop", "shed")) != ""
    assert difference("amqp://localhost:5672/ answers", "amqp://guest:***@127.0.0.1:5000/v-1 answers") == ""


async def test_all_commands_of_a_page_get_the_same_rabbitmq(tmp_path: Path) -> None:
    command = "$ TASKQ_URL=amqp://localhost bash -c 'echo $TASKQ_URL >> urls'"
    text = block(f"{command}\n{command}", "console") + block("$ echo amqp://localhost:1\namqp://localhost:1", "console")
    await perform(read_page("page.md", text), tmp_path)
    first, second = (tmp_path / "urls").read_text().split()
    assert first == second != "amqp://localhost"


def test_a_page_on_rabbitmq_has_the_variable_in_front_of_each_command_and_is_else_the_same() -> None:
    text = APP + block("$ taskq ping\n$ ready\ncosts $ 5", "console")
    python, console = on_rabbitmq(read_page("page.md", text)).blocks
    assert python == read_page("page.md", text).blocks[0]
    assert console.text == "$ TASKQ_URL=amqp://localhost taskq ping\n$ TASKQ_URL=amqp://localhost ready\ncosts $ 5\n"


async def test_a_page_that_fails_leaves_no_process_behind(tmp_path: Path) -> None:
    text = block("echo $$ > pid\necho go\nsleep 60", "sh", "file=wait.sh")
    text += block("$ bash wait.sh\ngo", "console", "background=A until=go") + block("assert False")
    with pytest.raises(AssertionError):
        await perform(read_page("page.md", text), tmp_path)
    pid = (tmp_path / "pid").read_text().strip()
    await eventually(lambda: not is_alive(pid), "the process of the page has ended")


def is_alive(pid: str) -> bool:
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False
