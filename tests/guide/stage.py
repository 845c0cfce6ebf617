"""Plays a page: its python blocks in one module, its files and commands in one folder, in the order of the page."""

from __future__ import annotations

import ast
import importlib
import io
import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from taskq.testing import Harness
from tests.guide.page import ROOT, Block, Page, scenery_of
from tests.guide.terminal import Terminal
from tests.guide.transcript import difference

MODULE = "guide_page"
_SAID = re.compile(r"^# (?P<error>\w+): (?P<text>.*(?:\n#.*)*)", re.MULTILINE)


class Stage:
    """One page being played. ``printed`` is what the last python block wrote to standard output."""

    def __init__(self, folder: Path, module: ModuleType) -> None:
        self.folder = folder
        self.module = module
        self.terminal = Terminal(folder)
        self.printed = ""

    async def play(self, block: Block) -> None:
        """Run one block as its marks say. Raises what is wrong with it, with its place."""
        try:
            await self._play(block)
        except BaseException as error:
            error.add_note(f"in {block.place}")
            raise

    async def _play(self, block: Block) -> None:
        if "skip" in block.marks:
            return
        if "stop" in block.marks:
            await self.terminal.stop(block.marks["stop"])
        if "output" in block.marks:
            differs = difference(block.text, self.printed, str(self.folder))
            assert not differs, f"{block.place}: the program prints something else\n{differs}"
        elif "part" in block.marks:
            text = (ROOT / block.marks["part"]).read_text("utf-8")
            assert block.text in text, f"{block.place} is no part of {block.marks['part']}"
        elif "file" in block.marks:
            self._write(block)
        elif block.language == "python":
            await self._run(block)
        elif block.language == "console":
            await self.terminal.play(block)
        elif block.is_program:
            raise AssertionError(f"{block.place}: a block of language {block.language} needs the mark `skip`")

    def _write(self, block: Block) -> None:
        path = self.folder / block.marks["file"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
        if path.suffix == ".py":
            name = ".".join(path.relative_to(self.folder).with_suffix("").parts)
            importlib.invalidate_caches()
            sys.modules.pop(name, None)
            importlib.import_module(name)

    async def _run(self, block: Block) -> None:
        out = io.StringIO()
        with redirect_stdout(out):
            if "raises" in block.marks:
                await self._run_refused(block)
            else:
                await self._run_here(block)
        self.printed = out.getvalue()

    async def _run_refused(self, block: Block) -> None:
        error = await self._error_of(block)
        assert error is not None, f"{block.place} raises nothing, and should raise {block.marks['raises']}"
        names = [kind.__name__ for kind in type(error).__mro__]
        assert block.marks["raises"] in names, f"{block.place} raises {error!r}"
        if said := _SAID.search(block.text):
            shown = " ".join(said["text"].replace("\n#", " ").split())
            assert f"{said['error']}: {shown}" == f"{type(error).__name__}: {' '.join(str(error).split())}"

    async def _error_of(self, block: Block) -> Exception | None:
        try:
            await self._run_here(block)
        except Exception as error:
            return error
        return None

    async def _run_here(self, block: Block) -> None:
        code = compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        if "harness" not in block.marks:
            await self._execute(code)
            return
        async with Harness(getattr(self.module, block.marks["harness"] or "app")) as harness:
            self.module.__dict__["h"] = harness
            await self._execute(code)

    async def _execute(self, code: Any) -> None:
        waiting = eval(code, self.module.__dict__)
        if waiting is not None:
            await waiting


@asynccontextmanager
async def staged(folder: Path) -> AsyncGenerator[Stage]:
    """Prepare the reader's folder: it is the working directory, and modules are found in it."""
    before, here = Path.cwd(), dict(os.environ)
    known = set(sys.modules)
    module = ModuleType(MODULE)
    stage = Stage(folder, module)
    os.chdir(folder)
    for name in [name for name in os.environ if name.startswith("TASKQ_")]:
        del os.environ[name]
    sys.path.insert(0, str(folder))
    sys.modules[MODULE] = module
    try:
        yield stage
        await stage.terminal.close()
    finally:
        sys.path.remove(str(folder))
        os.chdir(before)
        os.environ.clear()
        os.environ.update(here)
        for name in set(sys.modules) - known:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)) or name == MODULE:
                del sys.modules[name]
        await stage.terminal.kill()


async def perform(page: Page, folder: Path) -> None:
    """Play a whole page in ``folder``, after its scenery."""
    scenery = scenery_of(page)
    async with staged(folder) as stage:
        for block in (*(scenery.blocks if scenery else ()), *page.blocks):
            await stage.play(block)
