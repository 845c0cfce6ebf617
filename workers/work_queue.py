"""Work queues: slow jobs shared among workers. A job takes a second for each dot in its message.

Two workers, each with one job at a time::

    taskq worker workers.work_queue:app

Some work::

    taskq send workers.work_queue:app work '{"message": "a short one ."}'
    taskq send workers.work_queue:app work '{"message": "a long one ....."}'

The free worker gets the next job (fair dispatch). A job is acknowledged when it is done: kill a worker in the middle
(``kill -9``), and the other one does its job. Jobs wait on the disk while no worker runs, and over a broker's restart.
"""

from __future__ import annotations

import asyncio

from taskq import Context, Queue, TaskQ

app = TaskQ("work-queue")


@app.task(queue="work", timeout=60, context=True)
async def work(ctx: Context, message: str) -> int:
    """Work for a second for each dot, and return how many that were."""
    dots = message.count(".")
    ctx.log.info("got %r", message)
    await asyncio.sleep(dots)
    return dots


app.add_queue(Queue("work", default=work))
