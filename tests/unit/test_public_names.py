"""`taskq` is a table of names: each is imported from its module when it is used, and type checkers see the same."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import taskq


def names_for_type_checkers() -> dict[str, str]:
    """Return the module of each name that is imported under `TYPE_CHECKING`."""
    (block,) = (node for node in ast.parse(Path(taskq.__file__).read_text("utf-8")).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def test_each_public_name_has_a_home_where_type_checkers_look_for_it() -> None:
    assert names_for_type_checkers() == taskq._HOMES
    assert sorted([*taskq._HOMES, "__version__"]) == taskq.__all__


@pytest.mark.parametrize("name", sorted(taskq._HOMES))
def test_name_is_that_of_its_module(name: str) -> None:
    assert getattr(taskq, name) is getattr(import_module(taskq._HOMES[name]), name)


def test_modules_beside_the_names_are_there_without_an_import_of_their_own() -> None:
    code = "import taskq; print(taskq.errors.UsageError is taskq.UsageError, taskq.lifecycle.JobDead.__name__)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout == "True JobDead\n"


def test_all_names_are_listed_and_no_other_is_there() -> None:
    assert set(taskq.__all__) <= set(dir(taskq))
    with pytest.raises(AttributeError, match="module 'taskq' has no attribute 'Taskq'"):
        getattr(taskq, "Taskq")  # noqa: B009  # type checkers know that it is not there
    with pytest.raises(ImportError, match="cannot import name 'Taskq'"):
        exec("from taskq import Taskq")


def test_import_of_taskq_alone_imports_none_of_its_modules() -> None:
    code = "import sys; known = set(sys.modules); import taskq; print(*set(sys.modules) - known)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert [name for name in said.stdout.split() if name.partition(".")[0] == "taskq"] == ["taskq"]
    assert "pydantic" not in said.stdout
