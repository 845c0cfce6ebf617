"""An application whose three subscriptions get the same orders; one of them fails twice. For real worker processes."""

from __future__ import annotations

from taskq import Context, Fixed, RetryPolicy, TaskQ

app = TaskQ("orders")
orders = app.exchange("orders", kind="topic", payload=int)


@orders.subscribe("order.*", queue="bills", retry=RetryPolicy(attempts=5, backoff=Fixed(0.01)))
async def bill(number: int) -> None:
    """Succeed at the third attempt."""
    running = Context.current()
    running.log.info("bill %d", number)
    if running.attempt < 3:
        raise ConnectionError("the printer is busy")


@orders.subscribe("order.*", queue="parcels", retry=RetryPolicy(attempts=5, backoff=Fixed(0.01)))
async def pack(number: int) -> None:
    """Succeed at once."""
    Context.current().log.info("pack %d", number)


@orders.subscribe("#")
async def watch(number: int) -> None:
    """Succeed at once, without a queue that stays."""
    Context.current().log.info("watch %d", number)
