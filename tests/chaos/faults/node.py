"""A RabbitMQ node that dies, goes away, runs full, is administered, and waits for no ack any more."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from taskq.broker.amqp.ladder import level_name
from taskq.wire.ids import new_job_id
from tests.chaos.fault import Fault, Struck
from tests.chaos.program import CALLS, RETRIES, WORK, long_at_first
from tests.chaos.world import World
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from tests.chaos.sites.rabbit import RabbitSite

_BACK_S = 5.0
_AT_ONCE_S = 1.0
_ECHO_S = 0.05
_ACK_TIMEOUT_S = 1.5
_EMPTY_S = 20.0
_AGAIN_S = 30.0
_LOOKS = 5

SHORT_ACKS = (
    f"application:set_env(rabbit, consumer_timeout, {_ACK_TIMEOUT_S * 1000:.0f}), "
    "application:set_env(rabbit, channel_tick_interval, 300)"
)
LONG_ACKS = (
    "application:set_env(rabbit, consumer_timeout, 1800000), application:set_env(rabbit, channel_tick_interval, 60000)"
)


async def kill_broker(world: World[RabbitSite], rng: Random) -> Struck:
    """SIGKILL the broker, and start it at once.

    What it would note down within a second or two is noted down before: it forgets a queue that is younger.
    """
    site = world.site
    with world.fault("broker SIGKILL"):
        await site.tell(site.node.write_down)
        await site.tell(site.node.kill)
        back_at = await site.start()
    return Struck(healed_at=back_at)


async def restart_broker(world: World[RabbitSite], rng: Random) -> Struck:
    """Stop the broker in order, and start it at once."""
    with world.fault("broker restart"):
        await world.site.tell(world.site.node.stop)
        back_at = await world.site.start()
    return Struck(healed_at=back_at)


async def absence(name: str, least_s: float, most_s: float, world: World[RabbitSite], rng: Random) -> Struck:
    """Have the broker away for a time."""
    site = world.site
    with world.fault(name):
        await site.tell(site.node.write_down)
        await site.tell(rng.choice((site.node.kill, site.node.stop)))
        await world.hold(rng.uniform(least_s, most_s))
        back_at = await site.start()
    return Struck(healed_at=back_at)


async def close_connections(world: World[RabbitSite], rng: Random) -> Struck:
    """Close all connections as an administrator does (320)."""
    with world.fault("connections closed by the administrator"):
        await world.site.tell(world.site.node.close_connections)
        struck = Struck(healed_at=time.time(), echo_s=_ECHO_S)
        await world.until_all_get_on(struck.healed_at, echo_s=_ECHO_S)
    return struck


async def alarm(resource: str, world: World[RabbitSite], rng: Random) -> Struck:
    """Have the broker believe that its memory or its disk is used up: it takes no publishes."""
    node = world.site.node
    sets = node.alarm_memory if resource == "memory" else node.alarm_disk
    with world.fault(f"{resource} alarm"):
        await world.site.tell(partial(sets, True))
        await world.hold(rng.uniform(0.3, 3))
        await world.site.tell(partial(sets, False))
        healed_at = time.time()
        await world.until_all_get_on(healed_at)
    return Struck(healed_at=healed_at)


async def take_permissions(world: World[RabbitSite], rng: Random) -> Struck:
    """Take one to three permissions away, and give them back; RabbitMQ looks at them when a channel is opened."""
    taken = rng.sample(("configure", "write", "read"), rng.randint(1, 3))
    with world.fault("permissions taken away"):
        await world.site.permit(**dict.fromkeys(taken, "^$"))
        await world.site.tell(world.site.node.close_connections)
        await world.hold(rng.uniform(0.3, 2))
        await world.site.permit()
        healed_at = time.time()
        await world.until_all_get_on(healed_at)
    return Struck(healed_at=healed_at)


async def limit_dead_letters(world: World[RabbitSite], rng: Random) -> Struck:
    """Let a dead-letter queue take no more: what would become a dead letter waits."""
    with world.fault("dead-letter queue at its limit"):
        await world.site.limit(f"{RETRIES}.dead", 0)
        await world.hold(rng.uniform(0.5, 4))
        await world.site.unlimit()
    return Struck(healed_at=time.time())


async def delete_queue(anew: bool, world: World[RabbitSite], rng: Random) -> Struck:
    """Delete a queue under its consumers; ``anew``: and make it again, so that only the consumers are gone.

    What it held would be the administrator's loss: producers stand still until it is empty, and delayed jobs that are
    due meanwhile wait in ``taskq.unroutable``, from where the administrator takes them back.
    """
    administrator = world.site.administrator
    queue = rng.choice((WORK, CALLS))
    with world.fault("queue deleted and made again" if anew else "queue deleted"):
        async with _producers_paused(world):
            await administrator.shut_off(queue)
            await _until_empty(world, queue)
            await administrator.delete_queue(queue)
            healed_at = time.time()
            if anew:
                await world.hold(rng.uniform(0.05, 0.3))
                await administrator.make_queue(queue)
        await _until_consumed(world, queue)
        await world.until_all_get_on(healed_at)
        await administrator.move_unroutable()
    return Struck(healed_at=healed_at)


async def delete_exchange(world: World[RabbitSite], rng: Random) -> Struck:
    """Delete an exchange of the delay ladder at which jobs enter."""
    with world.fault("exchange of the delay ladder deleted"):
        await world.site.administrator.delete_exchange(level_name(rng.randint(1, 4)))
    return Struck(healed_at=time.time())


async def time_out_ack(world: World[RabbitSite], rng: Random) -> Struck:
    """Have a job run beyond the time that the broker waits for its ack: it closes the channel, and the job runs again.

    The time is that of new channels, so all connections are closed before and after.
    """
    site = world.site
    with world.fault("ack timeout"):
        await site.ask(SHORT_ACKS)
        await site.tell(site.node.close_connections)
        await world.until_all_get_on(time.time(), echo_s=_ECHO_S)
        job_id = await _enqueued_long(world)
        await eventually(lambda: world.executions(job_id) > 1, "it runs again", within_s=_AGAIN_S)
        healed_at = time.time()
        await world.until_all_get_on(healed_at)
        await site.ask(LONG_ACKS)
        await site.tell(site.node.close_connections)
        await world.until_all_get_on(time.time(), echo_s=_ECHO_S)
    return Struck(healed_at=healed_at)


async def _enqueued_long(world: World[RabbitSite]) -> str:
    """Enqueue a job that runs too long at first."""
    job_id = new_job_id()
    world.pen.wanted(job_id)
    async with world.opened() as app:
        await app.enqueue_many([long_at_first.with_options(job_id=job_id).bind(3 * _ACK_TIMEOUT_S)])
    world.pen.confirmed(job_id)
    return job_id


@asynccontextmanager
async def _producers_paused(world: World[RabbitSite]) -> AsyncIterator[None]:
    for member in world.producers:
        member.send(signal.SIGSTOP)
    try:
        yield
    finally:
        for member in world.producers:
            member.send(signal.SIGCONT)


async def _until_empty(world: World[RabbitSite], queue: str) -> None:
    """Wait until a queue holds nothing several times in a row: what producers had sent has arrived, and has ended."""
    looks = _LOOKS

    async def empty() -> bool:
        nonlocal looks
        looks = _LOOKS if await world.site.total(queue) else looks - 1
        return looks <= 0

    await eventually(empty, f"{queue} is empty", within_s=_EMPTY_S)


async def _until_consumed(world: World[RabbitSite], queue: str) -> None:
    """Wait until each worker consumes a queue."""

    async def consumed() -> bool:
        return await world.site.consumers(queue) >= sum(member.alive for member in world.workers)

    await eventually(consumed, f"all workers consume {queue}", within_s=_AGAIN_S)


_BROKER = frozenset({"broker"})
_ALL_OF_IT = frozenset({"broker", "network", "producer"})
FAULTS = (
    Fault(name="broker SIGKILL", strike=kill_broker, breaks=_BROKER, weight=0.7, bound_s=_BACK_S),
    Fault(name="broker restart", strike=restart_broker, breaks=_BROKER, weight=0.5, bound_s=_BACK_S),
    Fault(
        name="broker away for some seconds",
        strike=partial(absence, "broker away for some seconds", 1, 5),
        breaks=_BROKER,
        weight=0.4,
        bound_s=_BACK_S,
    ),
    Fault(
        name="broker away for 30 s",
        strike=partial(absence, "broker away for 30 s", 30, 30),
        breaks=_BROKER,
        weight=0.05,
        bound_s=_BACK_S,
    ),
    Fault(
        name="connections closed by the administrator",
        strike=close_connections,
        breaks=_BROKER,
        weight=3,
        bound_s=_AT_ONCE_S,
    ),
    Fault(name="memory alarm", strike=partial(alarm, "memory"), breaks=_BROKER, weight=1),
    Fault(name="disk alarm", strike=partial(alarm, "disk"), breaks=_BROKER, weight=1),
    Fault(name="permissions taken away", strike=take_permissions, breaks=_BROKER, weight=2),
    Fault(name="dead-letter queue at its limit", strike=limit_dead_letters, breaks=_BROKER, weight=1),
    Fault(name="queue deleted", strike=partial(delete_queue, False), breaks=_ALL_OF_IT, weight=1),
    Fault(name="queue deleted and made again", strike=partial(delete_queue, True), breaks=_ALL_OF_IT, weight=1),
    Fault(name="exchange of the delay ladder deleted", strike=delete_exchange, breaks=_BROKER, weight=1),
    Fault(name="ack timeout", strike=time_out_ack, breaks=_ALL_OF_IT, weight=0.5),
)
