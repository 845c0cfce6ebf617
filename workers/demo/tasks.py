"""The demonstration's tasks: hash, outline, compress and verify files.

Run a worker of it by hand with ``taskq worker workers.demo.tasks:app``.
"""

from __future__ import annotations

import ast
import asyncio
import hashlib
import lzma
import os
from pathlib import Path

from pydantic import BaseModel

from taskq import Context, Fixed, Retry, RetryPolicy, TaskQ

app = TaskQ("demo")


class Done(BaseModel):
    """What every task here returns: which worker process did it, and a number worth showing."""

    worker: int
    path: Path
    number: int
    text: str = ""


@app.task(queue="files")
async def digest(path: Path) -> Done:
    """Hash a file; the number is its size in bytes."""
    content = await asyncio.to_thread(path.read_bytes)
    return Done(worker=os.getpid(), path=path, number=len(content), text=hashlib.sha256(content).hexdigest())


@app.task(queue="files", retry=RetryPolicy(attempts=3, give_up_on=(SyntaxError,)))
def outline(path: Path) -> Done:
    """Parse a Python file, in a thread; the number counts its functions and classes. No retry mends a syntax error."""
    tree = ast.parse(path.read_text(), filename=path.name)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return Done(worker=os.getpid(), path=path, number=sum(isinstance(node, kinds) for node in ast.walk(tree)))


@app.task(queue="heavy", run="process", timeout=15)
def compress(path: Path, into: Path) -> Done:
    """Compress a file, in a process of its own; the number is the size of the result in bytes."""
    packed = lzma.compress(path.read_bytes())
    target = into / f"{path.name}.xz"
    target.with_suffix(".part").write_bytes(packed)
    target.with_suffix(".part").rename(target)
    return Done(worker=os.getppid(), path=target, number=len(packed))


@app.task(queue="files", context=True, retry=RetryPolicy(attempts=40, backoff=Fixed(0.4)))
def verify(ctx: Context, archive: Path, sha256: str) -> Done:
    """Check an archive against the original. While it is not there yet, the attempt is retried."""
    if not archive.exists():
        raise Retry(f"{archive.name} is not there yet")
    content = lzma.decompress(archive.read_bytes())
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{archive.name} is not what was compressed")
    return Done(worker=os.getpid(), path=archive, number=ctx.attempt)


@app.task(queue="files")
def count_lines(paths: list[Path]) -> dict[str, int]:
    """Count lines by file ending; called as RPC."""
    lines: dict[str, int] = {}
    for path in paths:
        lines[path.suffix] = lines.get(path.suffix, 0) + path.read_bytes().count(b"\n")
    return lines
