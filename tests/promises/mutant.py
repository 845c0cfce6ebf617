"""A change that breaks a promise, carried out in a copy of the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.workers import ROOT

_COPIED = ("taskq", "tests", "workers", "pyproject.toml", "constraints.txt")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".hypothesis")
_TEST_S = 15  # what a broken promise makes hang is a failure, too
_RUNS_S = 180.0
_SOME_FAILED = 1  # pytest's status; any other than 0 is no answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """``old``, which stands once in ``file``, is replaced by ``new``; one of ``tests`` has to fail then.

    ``breaks`` says what is wrong with taskq after that.
    """

    breaks: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, text: str) -> str:
        """Return the text of the file after the change."""
        assert text.count(self.old) == 1, f"{self.file} has this {text.count(self.old)} times:\n{self.old}"
        changed = text.replace(self.old, self.new)
        compile(changed, self.file, "exec")
        return changed


def survives(mutant: Mutant, variables: Mapping[str, str]) -> str | None:
    """Return what pytest said when all tests passed in spite of the change; ``None`` when one failed.

    Raises ``AssertionError`` when the tests could not be run at all.
    """
    with tempfile.TemporaryDirectory(prefix="taskq-mutant-") as folder:
        copy = Path(folder)
        _copy(copy)
        changed = copy / mutant.file
        changed.write_text(mutant.applied(changed.read_text()))
        done = run_tests(copy, mutant.tests, variables)
    assert done.returncode in (0, _SOME_FAILED), f"status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout if done.returncode == 0 else None


def run_tests(root: Path, tests: tuple[str, ...], variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run tests of a checkout, on its own code, until one fails. A broker that they start has to come up meanwhile."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", f"timeout={_TEST_S}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=root,
        env={**_own_environment(), **variables, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_RUNS_S,
    )


def _copy(folder: Path) -> None:
    for name in _COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(source, folder / name)


def _own_environment() -> dict[str, str]:
    """Return the environment without what a pytest around us put there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
