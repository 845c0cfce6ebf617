"""Tasks for messages of plain AMQP programs, on queues that those programs declare too; run by real workers.

Every execution is a line in the file that ``PEERS_RECORD`` names: task, argument, attempt.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from taskq import Context, Fixed, Queue, RetryPolicy, TaskQ

RECORD = "PEERS_RECORD"

app = TaskQ("peershop")


@app.task(queue="hello", context=True)
async def hello(ctx: Context, text: str) -> None:
    """Take a text."""
    record(ctx, text)


@app.task(queue="task_queue", context=True, retry=RetryPolicy(attempts=2, backoff=Fixed(0.01)))
async def work(ctx: Context, message: str) -> None:
    """Work a moment for each dot. ``fail…`` fails the first time, ``bad luck`` until it is mended."""
    record(ctx, message)
    await asyncio.sleep(message.count(".") / 20)
    if message.startswith("fail") and ctx.attempt == 1:
        raise ValueError(message)
    if message == "bad luck" and not Path(os.environ[RECORD] + ".mended").exists():
        raise ValueError(message)
    if message == "never":
        await asyncio.Event().wait()


app.add_queue(Queue("hello", type="classic", durable=False, arguments={}, default=hello))
app.add_queue(Queue("task_queue", type="classic", arguments={}, default=work))


def record(ctx: Context, argument: object) -> None:
    """Write down one execution, in one write."""
    with Path(os.environ[RECORD]).open("a", encoding="utf-8") as file:
        file.write(json.dumps([ctx.task, argument, ctx.attempt]) + "\n")


def recorded(path: Path) -> list[list[object]]:
    """Return what was written down."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
