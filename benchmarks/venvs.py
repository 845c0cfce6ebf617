"""A virtual environment for each contender, made once and kept in the user's cache."""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from functools import cache
from pathlib import Path

from benchmarks.contender import Contender

_INSTALL_S = 300
_CHECKOUT = Path(__file__).parents[1] / "taskq"


class NotInstalled(Exception):
    """A contender's packages are not to be had; says why in one line."""


def binaries(contender: Contender) -> Path:
    """Return the folder of the contender's programs; its environment is made when it is not there."""
    if not contender.requirements:
        _compile_checkout()
        return Path(sys.executable).parent
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    said = " ".join((sys.version, *contender.requirements))
    folder = cache / "taskq" / "benchmarks" / f"{contender.program}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"
    if not (folder / "made").exists():
        _make(folder, contender.requirements)
    return folder / "bin"


@cache
def _compile_checkout() -> None:
    """Do what pip does for the others: else, where Python writes no bytecode, each start compiles what was edited."""
    if not compileall.compile_dir(_CHECKOUT, quiet=1):
        raise NotInstalled(f"{_CHECKOUT} does not compile")


def _make(folder: Path, requirements: tuple[str, ...]) -> None:
    print(f"installing {' '.join(requirements)}", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    done = subprocess.run([*command, *requirements], capture_output=True, text=True, check=False, timeout=_INSTALL_S)
    if done.returncode:
        raise NotInstalled(f"not installed: {(done.stderr.strip().splitlines() or ['pip failed'])[-1]}")
    (folder / "made").touch()
