"""What a start costs: which modules are imported until the first job is done. And what an idle worker weighs.

Modules are counted instead of seconds, since a count is the same on a loaded machine: decision 022 has the seconds.
"""

from __future__ import annotations

import gc
import re
import sys
from pathlib import Path

import pytest

from taskq.cli import main
from tests.support.commandline import Terminal
from tests.support.system import System, inside, stop, until_done
from tests.support.workers import ROOT
from workers.hello import app, hello

MOST_MB = 45.0
_IMPORTED = re.compile(r"^import time:\s+\d+ \|\s+\d+ \|\s+([\w.]+)$", re.M)

# Each is a library, or a part of taskq, that is imported with all below it.
DRAWING = {"rich", "markdown_it", "pygments"}
NEVER = {*DRAWING, "cryptography", "dotenv", "fastapi", "httpx", "pydantic_settings", "setuptools", "starlette"}
LATER = {
    "http.client",
    "multiprocessing",
    "taskq.broker.amqp.inspector",
    "taskq.broker.amqp.management",
    "taskq.cli.table",
    "taskq.testing",
    "taskq.worker.processes",
    "taskq.worker.supervisor",
}
AMQP = {"aio_pika", "aiormq", "idna", "pamqp", "yarl", "taskq.broker.amqp"}
SQLITE = {"sqlite3", "taskq.broker.sqlite"}
APP = {"taskq.app", "taskq.lifecycle", "taskq.tasks", "taskq.worker"}


def imported(log: str) -> set[str]:
    """Return the modules that a process has imported, from what `PYTHONPROFILEIMPORTTIME` made it write."""
    found = set(_IMPORTED.findall(log))
    assert found, log
    return found


def among(modules: set[str], names: set[str]) -> set[str]:
    """Return those of ``modules`` that are one of ``names`` or lie below it."""
    return {module for module in modules if any(f"{module}.".startswith(f"{name}.") for name in names)}


def not_of_python(modules: set[str]) -> set[str]:
    """Return the modules of taskq and of libraries: how many Python's own are is not for us to say."""
    return {module for module in modules if module.partition(".")[0] not in sys.stdlib_module_names}


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return [pid, *(each for child in children for each in tree(child))]


def weight_mb(pid: int) -> float:
    """Return the memory of a process in MB, a page that several share by its part (PSS)."""
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
    assert found
    return int(found[1]) / 1024


def test_worker_imports_no_more_than_its_first_job_needs(system: System, broker_url: str | None) -> None:
    system.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    (worker,) = system.workers(("workers.hello:app",))
    inside(app, lambda: hello.enqueue("Ada"))
    until_done([worker], 1)
    modules = imported(worker.log)
    assert among(modules, NEVER | LATER | (AMQP if broker_url is None else SQLITE)) == set()
    most = 235 if broker_url is None else 315  # a tenth more than there are
    assert len(not_of_python(modules)) <= most, sorted(not_of_python(modules))
    stop(worker)


def test_idle_worker_is_one_process_of_little_weight(system: System) -> None:
    (worker,) = system.workers(("workers.hello:app",))
    inside(app, lambda: hello.enqueue("Ada"))
    until_done([worker], 1)
    assert tree(worker.pid) == [worker.pid]
    assert weight_mb(worker.pid) < MOST_MB
    stop(worker)


@pytest.mark.parametrize("arguments", [("--help",), ("version",), ("worker", "--help"), ()])
def test_help_and_version_import_no_more_than_the_command_line(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    said = Terminal(tmp_path, {"PYTHONPATH": str(ROOT)}).run(*arguments, PYTHONPROFILEIMPORTTIME="1")
    assert said.status == 0
    modules = imported(said.err)
    assert among(modules, NEVER | LATER | AMQP | SQLITE) == set()
    if arguments in ((), ("--help",)):
        assert among(modules, APP | {"pydantic"}) == set()
        assert len(not_of_python(modules)) <= 50, sorted(not_of_python(modules))
    if arguments == ("version",):  # typer reads the options of a command by pydantic, be there any or none
        assert among(modules, APP) == set()


def test_send_imports_neither_the_other_broker_nor_what_draws(tmp_path: Path) -> None:
    variables = {"PYTHONPATH": str(ROOT), "TASKQ_URL": "sqlite:///broker.db"}
    said = Terminal(tmp_path, variables).run(
        "send", "workers.hello:app", "hello", '{"name": "Ada"}', PYTHONPROFILEIMPORTTIME="1"
    )
    assert said.status == 0, said.err
    assert among(imported(said.err), NEVER | LATER | AMQP) == set()


def test_cycles_are_collected_while_a_command_runs_and_what_was_loaded_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(
        "import gc\n"
        "from taskq import TaskQ\n"
        'app = TaskQ("probe")\n'
        "@app.task\n"
        "async def look() -> list[bool]:\n"
        "    return [gc.isenabled(), gc.get_freeze_count() > 1000, gc.get_threshold()[0] > 10_000]\n"
    )
    said = Terminal(tmp_path, {"PYTHONPATH": str(ROOT)}).run("run", "probe:app", "look")
    assert said.out == "[true,true,true]\n"


def test_command_line_inside_another_program_leaves_its_collector_alone() -> None:
    assert gc.isenabled()
    before = gc.get_freeze_count(), gc.get_threshold()
    assert main(["version"]) == 0
    assert (gc.get_freeze_count(), gc.get_threshold()) == before
    assert gc.isenabled()
