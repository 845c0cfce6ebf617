"""Commands of `taskq` typed into this process: quick, for all that needs no process of its own."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from taskq.cli import main

Typed = Callable[..., tuple[int, str, str]]
"""Runs a command and returns its status, standard output and standard error."""


@contextmanager
def typed_in(
    folder: Path, modules: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Typed]:
    """Type commands in `folder`, where `modules` (name to text) are. What they change in the process is put back."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("TASKQ_URL", "sqlite:///broker.db")
    monkeypatch.delenv("TASKQ_APP", raising=False)
    handled = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    root = logging.getLogger()
    handlers, level = root.handlers.copy(), root.level

    def run(*arguments: str) -> tuple[int, str, str]:
        for name in modules:
            sys.modules.pop(name, None)
        status = main(arguments)
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    try:
        yield run
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)
        root.handlers[:], root.level = handlers, level
        for name in modules:
            sys.modules.pop(name, None)
