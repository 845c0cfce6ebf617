"""Reads the workers' JSON log while they write it, and tells what a person wants to see at once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape

_LOOK_S = 0.1
_SHOWN = 4  # of each kind; the rest is in the log


@asynccontextmanager
async def tell_retries_and_deaths(logs: Sequence[Path], console: Console) -> AsyncGenerator[None]:
    """Print the workers' retries and dead letters while the block runs."""
    follower = asyncio.create_task(_follow(logs, console))
    try:
        yield
    finally:
        follower.cancel()
        await asyncio.gather(follower, return_exceptions=True)


async def _follow(logs: Sequence[Path], console: Console) -> None:
    read = dict.fromkeys(logs, 0)
    shown: dict[str, int] = {}
    while True:
        for log in logs:
            content = log.read_bytes()
            end = content.rfind(b"\n") + 1
            for line in content[read[log] : end].splitlines():
                _tell(json.loads(line), shown, console)
            read[log] = end
        await asyncio.sleep(_LOOK_S)


def _tell(line: dict[str, object], shown: dict[str, int], console: Console) -> None:
    kind = str(line.get("event"))
    if kind in ("JobRetried", "LoopBlocked", "DeliveryLost") and shown.get(kind, 0) < _SHOWN:
        shown[kind] = shown.get(kind, 0) + 1
        words = escape(str(line["message"]).splitlines()[0])
        console.print(f"[yellow]{'retry' if kind == 'JobRetried' else kind}[/]  {words}", soft_wrap=True)
