"""Connections that are cut, reset, stalled, slowed down and swallowed: those of one member, or of all.

What a fault takes away is written down until everybody has got over it: until then a confirm may be missing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from tests.chaos.fault import Fault, Struck
from tests.chaos.world import World
from tests.support.tcpproxy import TcpProxy
from tests.support.waiting import until

if TYPE_CHECKING:
    from tests.chaos.sites.rabbit import RabbitSite

HEARTBEAT_S = 2
_AT_ONCE_S = 1.0
_NOTICED_S = 2.0 * HEARTBEAT_S
_ECHO_S = 0.05  # what had arrived is begun in that time
_IN_FLIGHT_S = 0.3  # the same, where nothing tells that more will not come
_CUT_S = 5.0

Proxies = Sequence[TcpProxy]
Break = Callable[[Proxies, Random], Awaitable[Struck]]


async def cut(proxies: Proxies, rng: Random) -> Struck:
    """End connections in order."""
    for proxy in proxies:
        proxy.cut()
    return Struck(healed_at=time.time(), echo_s=_ECHO_S)


async def reset(proxies: Proxies, rng: Random) -> Struck:
    """End connections with a reset; what was on its way is lost."""
    for proxy in proxies:
        proxy.reset()
    return Struck(healed_at=time.time(), echo_s=_ECHO_S)


async def cut_in_a_frame(proxies: Proxies, rng: Random) -> Struck:
    """Cut each connection after some more bytes to the client; one on which nothing comes, after a while."""
    for proxy in proxies:
        proxy.cut_in(rng.randrange(1, 400))
    with suppress(TimeoutError):
        await until(lambda: not any(proxy.cuts_left for proxy in proxies), timeout_s=_CUT_S)
    for proxy in proxies:
        if proxy.cuts_left:
            proxy.cut()
    return Struck(healed_at=time.time(), echo_s=_ECHO_S)


async def half_open(proxies: Proxies, rng: Random) -> Struck:
    """Swallow all on the connections of now, while new ones pass: their ends have to notice by themselves."""
    for proxy in proxies:
        proxy.half_open()
    return Struck(healed_at=time.time(), echo_s=_IN_FLIGHT_S)


async def black_hole(proxies: Proxies, rng: Random) -> Struck:
    """Swallow all, on new connections too, for a time; then the way is free again."""
    for proxy in proxies:
        proxy.black_hole()
    await asyncio.sleep(rng.uniform(0.5, _NOTICED_S + 1))
    return _flowing(proxies)


async def stall(proxies: Proxies, rng: Random) -> Struck:
    """Hold everything back for less than a connection is given up after; nothing is lost."""
    for proxy in proxies:
        proxy.stall()
    await asyncio.sleep(rng.uniform(0.3, 1.5 * HEARTBEAT_S))
    return _flowing(proxies)


async def trickle(proxies: Proxies, rng: Random) -> Struck:
    """Let a few bytes through at a time."""
    size = rng.randrange(1, 200)
    for proxy in proxies:
        proxy.trickle(size, 0.02)
    await asyncio.sleep(rng.uniform(0.5, 3))
    return _flowing(proxies)


def _flowing(proxies: Proxies) -> Struck:
    for proxy in proxies:
        proxy.flow()
    return Struck(healed_at=time.time())


async def _of_one(name: str, breaks: Break, world: World[RabbitSite], rng: Random) -> Struck:
    victim = rng.choice([member for member in world.members if member.alive])
    with world.fault(name, pid=victim.pid):
        return await _got_over(breaks, [world.site.proxies[victim.role.name]], world, rng)


async def _of_all(name: str, breaks: Break, world: World[RabbitSite], rng: Random) -> Struck:
    with world.fault(name):
        return await _got_over(breaks, list(world.site.proxies.values()), world, rng)


async def _got_over(breaks: Break, proxies: Proxies, world: World[RabbitSite], rng: Random) -> Struck:
    struck = await breaks(proxies, rng)
    await world.until_all_get_on(struck.healed_at, echo_s=struck.echo_s)
    return struck


def _pair(name: str, breaks: Break, *, weight: float, bound_s: float | None = None) -> tuple[Fault, ...]:
    """Return the fault of one member, and that of all."""
    return tuple(
        Fault(
            name=f"{name}, {whose}",
            strike=partial(strike, f"{name}, {whose}", breaks),
            breaks=frozenset({"network"}),
            weight=weight,
            bound_s=bound_s,
        )
        for whose, strike in (("one", _of_one), ("all", _of_all))
    )


FAULTS = (
    *_pair("connections ended", cut, weight=3, bound_s=_AT_ONCE_S),
    *_pair("connections reset", reset, weight=3, bound_s=_AT_ONCE_S),
    *_pair("connections cut in a frame", cut_in_a_frame, weight=2, bound_s=_AT_ONCE_S),
    *_pair("half-open connections", half_open, weight=0.7, bound_s=_NOTICED_S),
    *_pair("black hole for a time", black_hole, weight=0.7),
    *_pair("stall", stall, weight=1),
    *_pair("trickle", trickle, weight=1),
)
