"""Hello world: one program sends, any number of others receive, and each message goes to one of them.

Two terminals, or more, receive::

    taskq worker workers.hello:app

Another one sends; ``--wait`` asks for the answer::

    taskq send workers.hello:app hello '{"name": "Ada"}'
    taskq send workers.hello:app hello '{"name": "Grace"}' --wait

A plain AMQP program may send a bare text to the queue ``hello``, too: it is the name.
"""

from __future__ import annotations

from taskq import Context, Queue, TaskQ

app = TaskQ("hello")


@app.task(queue="hello", context=True)
async def hello(ctx: Context, name: str) -> str:
    """Greet somebody."""
    greeting = f"Hello, {name}!"
    ctx.log.info("%s", greeting)
    return greeting


app.add_queue(Queue("hello", default=hello))
