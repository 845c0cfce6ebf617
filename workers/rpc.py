"""Remote procedure calls: Fibonacci numbers from whichever server is free.

Servers, as many as you like; each computes in a process of its own, so that its event loop stays free::

    taskq worker workers.rpc:app

A client waits for its result::

    taskq send workers.rpc:app fib '{"n": 30}' --wait

The same in a program::

    async with app:
        print(await fib.call(30))

When a server dies in the middle, another one computes the number, and the client still gets it. A client that has
waited long enough gets a ``ResultTimeout``. A plain AMQP program sends the bare number to the queue ``rpc_queue``, with
``reply_to`` and ``correlation_id``, and gets the bare result.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from taskq import Queue, TaskQ

app = TaskQ("rpc")


@app.task(queue="rpc_queue", run="process", timeout=60)
def fib(n: Annotated[int, Field(ge=0, le=40)]) -> int:
    """Return the n-th Fibonacci number, the slow way."""
    return n if n < 2 else fib(n - 1) + fib(n - 2)


app.add_queue(Queue("rpc_queue", default=fib))
