"""Whatever is wrong with a command: one line that says what to do, a fitting status, and no traceback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.typed import Typed, typed_in

MODULES = {
    "shop": """
from taskq import Queue, TaskQ
app = TaskQ("shop")
app.add_queue(Queue("fast", type="classic", max_priority=3))

@app.task
async def resize(url: str, width: int = 200) -> None: ...

@app.task(queue="fast")
async def thumb(url: str) -> None: ...

@app.remote("charge", queue="billing")
def charge(cents: int) -> None:
    raise NotImplementedError

number = 3
def factory() -> TaskQ: return app
def with_argument(x: int) -> TaskQ: return app
async def of_async() -> TaskQ: return app
def broken() -> TaskQ: raise RuntimeError("no configuration")
def of_nothing() -> None: ...
""",
    "two": "from taskq import TaskQ\none = also = TaskQ('one')\nother = TaskQ('other')\n",
    "empty": "",
    "bad_import": "import os\n\nimport not_installed\n",
    "bad_syntax": "x = 1\ndef f(:\n",
    "bad_name": "from shop import App\n",
    "bad_task": "from taskq import TaskQ\napp = TaskQ('x')\n\n@app.task\nasync def f(a): ...\n",
    "leaves": "import sys\nsys.exit(3)\n",
}


@pytest.fixture
def taskq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Typed]:
    with typed_in(tmp_path, MODULES, monkeypatch, capfd) as typed:
        yield typed


WRONG = [
    # the app
    ("tasks", "no app: write MODULE:APP, or set TASKQ_APP to module:app"),
    ("tasks shpo:app", "no module 'shpo' in {folder}; did you mean 'shop'?"),
    ("tasks shop.sub:app", "no module 'shop.sub': 'shop' is no package"),
    ("tasks shop.py:app", "write its name with dots and without .py"),
    ("tasks shop:", "'shop:' names no app: write module:app"),
    ("tasks a..b:app", "'a..b:app' names no app: write module:app"),
    ("tasks shop:ap", "module 'shop' has no 'ap'; did you mean 'app'?"),
    ("tasks shop:app.queue", "module 'shop' has no 'app.queue'"),
    ("tasks shop:number", "shop:number is no TaskQ (its type is int); did you mean shop:app?"),
    ("tasks shop:resize", "shop:resize is no TaskQ (its type is AsyncTask); did you mean shop:app?"),
    ("tasks shop:with_argument", "shop:with_argument wants arguments; a factory takes none"),
    ("tasks shop:of_async", "shop:of_async is async; a factory is a plain def"),
    ("tasks shop:of_nothing", "shop:of_nothing() returned no TaskQ (its type is NoneType)"),
    ("tasks shop:broken", "shop:broken() failed: shop.py, line 20: RuntimeError: no configuration"),
    ("tasks two", "module 'two' has 2 apps; choose one: two:one, two:other"),
    ("tasks empty", "module 'empty' has no TaskQ"),
    ("tasks bad_import:app", "importing bad_import failed: bad_import.py, line 3: ModuleNotFoundError: No module"),
    ("tasks bad_syntax:app", "importing bad_syntax failed: bad_syntax.py, line 2: SyntaxError"),
    ("tasks bad_name:app", "importing bad_name failed: bad_name.py, line 1: ImportError: cannot import name 'App'"),
    ("tasks bad_task:app", "importing bad_task failed: bad_task.py, line 4: DeclarationError: task 'f'"),
    ("tasks leaves:app", "importing leaves failed: leaves.py, line 2: SystemExit: it ends the program with status 3"),
    ("tasks shop:app --app-dir nowhere", "--app-dir 'nowhere' is no folder"),
    # words
    ("tasks shop:app more", "'more' is one argument too many: write MODULE:APP"),
    ("send shop:app", "TASK is missing: write MODULE:APP TASK [JSON]"),
    ("send resize {}", "no app: write MODULE:APP TASK [JSON]"),
    ("dead list shop:app", "QUEUE is missing: write MODULE:APP QUEUE"),
    ("dead show shop:app default", "JOB_ID is missing"),
    ("wokrer shop:app", "No such command 'wokrer'"),
    ("worker shop:app --quiet", "No such option: --quiet"),
    # tasks and arguments
    ("send shop:app resiez {}", "app 'shop' has no task 'resiez'; did you mean 'resize'?"),
    ("send shop:app x {}", "app 'shop' has no task 'x'; there are charge, resize, thumb"),
    ("send shop:app resize {url:1}", "the arguments are no JSON: Expecting property name"),
    ('send shop:app resize {"url":"u"', "the arguments are no JSON: Expecting ',' delimiter at its end"),
    ('send shop:app resize {"url":"u",,}', "here: {{\"url\":\"u\",⟨,⟩}}"),
    ("send shop:app resize [1]", "the arguments are [1], no JSON object; write them by name: '{{\"url\": …, "),
    ("send shop:app resize {}", "resize: url: is required"),
    ('send shop:app resize {"url":"u","width":"wide"}', "resize: width: Input should be a valid integer"),
    ('send shop:app resize {"url":"u","depth":1}', "resize: depth: is unknown; there is no such parameter or field"),
    ("run shop:app charge {}", "task 'charge' is a stub of a task that other code runs"),
    # options
    ('send shop:app resize {"url":"u"} --delay -1', "delay: -1.0 is out of range"),
    ('send shop:app resize {"url":"u"} --delay soon', "Invalid value for '--delay'"),
    ('send shop:app resize {"url":"u"} --priority 1', "resize: priority 1 on queue 'default', which has none"),
    ('send shop:app thumb {"url":"u"} --priority 4', "thumb: priority 4 on queue 'fast'"),
    ("worker shop:app --concurrency 0", "Invalid value for '--concurrency'"),
    ("worker shop:app --queue fast=many", "--queue fast=many: write NAME or NAME=CONCURRENCY"),
    ("worker shop:app --queue fast --queue fast=2", "--queue fast is given twice"),
    ("worker shop:app --queue fats", "no task or subscription uses the queue 'fats'; the app has default, fast"),
    # dead letters
    ("dead list shop:app defautl", "no queue 'defautl'; did you mean 'default'?"),
    ("dead drop shop:app default", "which dead letters? taskq dead drop takes job ids, or --all"),
    ("dead retry shop:app default one --all", "takes job ids, or --all, not both"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "expected"), WRONG, ids=[command for command, _ in WRONG])
def test_wrong_usage_is_one_line_and_status_2(taskq: Typed, tmp_path: Path, command: str, expected: str) -> None:
    status, out, err = taskq(*command.split())
    (line,) = [line for line in err.splitlines() if not line.startswith("{")]
    assert line.startswith("taskq: ")
    assert expected.format(folder=tmp_path) in line
    assert (status, out) == (2, "")


@pytest.mark.parametrize(
    ("setting", "status", "expected"),
    [
        ("TASKQ_CONCURRENCY=many", 2, "settings: concurrency (TASKQ_CONCURRENCY): "),
        ("TASKQ_URL=http://user:secret@host", 2, "no broker for a URL of the kind 'http'"),
        ("TASKQ_URL=sqlite:///missing/broker.db", 3, "missing"),
        ("TASKQ_URL=sqlite:///shop.py", 3, "shop.py"),
    ],
)
def test_wrong_settings_are_one_line(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch, setting: str, status: int, expected: str
) -> None:
    monkeypatch.setenv(*setting.split("=", 1))
    for command in (["ping", "shop:app"], ["send", "shop:app", "resize", '{"url": "u"}']):
        got, out, err = taskq(*command)
        (line,) = err.splitlines()
        assert expected in line
        assert "secret" not in line
        assert (got, out) == (status, "")
    assert taskq("ping", "shop:app", "--quiet") == (status, "", "")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", "the arguments are empty, no JSON object; leave them out, or write '{}'"),
        ('{"url": "u", "width": NaN}', "resize: width: Input should be a finite number"),
        ('{"url": "u", "width": ' + "9" * 5000 + "}", "the arguments cannot be read: Exceeds the limit"),
        ('{"url": ' + "[" * 100_000, "the arguments are nested too deeply"),
        ('{"url": "\\ud800"}', "the body is no JSON object: Invalid JSON"),
        ('{"url": "\udcff"}', "the body is no JSON object: Invalid JSON"),  # a byte that is no UTF-8
    ],
    ids=["empty", "NaN", "many digits", "deep", "half a surrogate pair", "no UTF-8"],
)
def test_arguments_that_no_message_can_carry_are_one_line(taskq: Typed, body: str, expected: str) -> None:
    status, out, err = taskq("send", "shop:app", "resize", body)
    (line,) = err.splitlines()
    assert line.startswith(f"taskq: {expected}")
    assert (status, out) == (2, "")


def test_a_job_is_not_sent_to_a_broker_that_ends_with_the_command(
    taskq: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TASKQ_URL", "memory://")
    status, out, err = taskq("send", "shop:app", "resize", '{"url": "u"}')
    assert (status, out) == (2, "")
    assert err.startswith("taskq: memory:// ends with this command, and the job with it; set TASKQ_URL")


def test_an_unknown_dead_letter_changes_nothing_and_ends_with_1(taskq: Typed) -> None:
    for verb in ("show", "retry", "drop"):
        status, out, err = taskq("dead", verb, "shop:app", "default", "some-id")
        assert (status, out) == (1, "")
        assert err == "taskq: no dead letter some-id of default, so nothing was done; taskq dead list shows them\n"


def test_no_result_in_time_is_one_line_and_status_1(taskq: Typed) -> None:
    status, out, err = taskq("send", "shop:app", "resize", '{"url": "u"}', "--wait", "--timeout", "0.05")
    assert (status, out) == (1, "")
    assert "taskq: resize: no result within 0.05 s" in err


def test_what_a_user_typed_cannot_steer_the_terminal(taskq: Typed) -> None:
    status, _, err = taskq("send", "shop:app", "\x1b[31mred\n\x07", "{}")
    assert status == 2
    assert "\x1b" not in err
    assert err.count("\n") == 1
