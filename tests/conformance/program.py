"""A random program over a broker, step by step beside the model of its contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from taskq.broker.protocol import Broker, Delivery, Outgoing, Settlement
from taskq.errors import Unroutable
from taskq.tasks.exchanges import Binding, ExchangeDefinition
from taskq.tasks.queues import Queue
from taskq.wire.message import Message
from tests.conformance.ground import Ground, Letters, Taker
from tests.conformance.model import ContractBroken, Kept, Model, ModelConsumer, ModelQueue
from tests.conformance.stand import TIMEOUT_S, message

T = TypeVar("T")

PATIENCE_S = 10.0

few = st.integers(0, 11)
"""Chooses one of what there is."""
keys = st.sampled_from(["a", "a.b", "b"])
patterns = st.sampled_from(["a", "a.*", "#", "*.b"])


class Program(RuleBasedStateMachine):
    """The rules: everything that the contract offers."""

    ground: Ground

    def __init__(self) -> None:
        super().__init__()
        self._prefix = prefix = self.ground.new_program()
        self._embedded = embedded = self.ground.stand.embedded
        self._names = [f"{prefix}plain", f"{prefix}urgent", f"{prefix}limited"]
        plain, urgent, limited = self._names
        self.model = Model(
            [
                ModelQueue(plain),
                ModelQueue(urgent, max_priority=3, counts=embedded),
                ModelQueue(limited, limit=1),
            ],
            {f"{prefix}fanout": "fanout", f"{prefix}direct": "direct", f"{prefix}topic": "topic"},
        )
        self._queues = [Queue(plain), Queue(urgent, type="classic", max_priority=3), Queue(limited, delivery_limit=1)]
        self._exchanges = [ExchangeDefinition(name=name, kind=kind) for name, kind in self.model.kinds.items()]
        self._brokers: list[Broker] = []
        self._takers: list[Taker] = []
        self._open: list[tuple[Kept, Delivery, Taker]] = []
        self._kept: list[tuple[Delivery, Taker]] = []
        self._spent: list[Delivery] = []
        self._letters: list[Letters] = []
        self._gone = [f"taskq.reply.{prefix}gone"]
        self._bodies = count()
        self._run(self._begin())

    def teardown(self) -> None:
        self._run(self._end())

    # Publishing.

    @rule(queue=few, number=st.integers(1, 4), priority=st.integers(0, 4), broker=few)
    def publish(self, queue: int, number: int, priority: int, broker: int) -> None:
        name = self._names[queue % 3]
        bodies = [self._body() for _ in range(number)]
        outgoing = [Outgoing(message(body, priority=priority), name) for body in bodies]
        for body in bodies:
            self.model.put(name, body, priority=priority)
        self._run(self._publish(broker, *outgoing))

    @rule(queue=few, delay_ms=st.integers(20, 400), broker=few)
    def publish_for_later(self, queue: int, delay_ms: int, broker: int) -> None:
        name, body = self._names[queue % 3], self._body()
        due = time.time() + delay_ms / 1000
        self.model.put(name, body, due=due)
        self._run(self._publish(broker, Outgoing(message(body), name, not_before=due)))

    @rule(mandatory=st.booleans(), broker=few)
    def publish_to_nobody(self, mandatory: bool, broker: int) -> None:
        outgoing = Outgoing(message(), f"{self._prefix}missing", mandatory=mandatory)
        if mandatory:
            with pytest.raises(Unroutable):
                self._run(self._publish(broker, outgoing))
        else:
            self._run(self._publish(broker, outgoing))

    @rule(exchange=few, key=keys, mandatory=st.booleans(), broker=few)
    def publish_to_an_exchange(self, exchange: int, key: str, mandatory: bool, broker: int) -> None:
        name = self._exchanges[exchange % 3].name
        body = self._body()
        outgoing = Outgoing(message(body), key, mandatory=mandatory, exchange=name)
        queues = self.model.routes(name, key)
        if mandatory and not queues:
            with pytest.raises(Unroutable):
                self._run(self._publish(broker, outgoing))
            return
        for queue in queues:
            self.model.put(queue, body)
        self._run(self._publish(broker, outgoing))

    # Topology.

    @rule(exchange=few, queue=few, key=keys, pattern=patterns, broker=few)
    def bind(self, exchange: int, queue: int, key: str, pattern: str, broker: int) -> None:
        binding = self._binding(exchange, queue, key, pattern)
        self.model.bindings.add((binding.exchange, binding.queue, binding.key))
        self._run(self._broker(broker).declare([], bindings=[binding]))

    @rule(exchange=few, queue=few, key=keys, pattern=patterns, broker=few)
    def unbind(self, exchange: int, queue: int, key: str, pattern: str, broker: int) -> None:
        binding = self._binding(exchange, queue, key, pattern)
        self.model.bindings.discard((binding.exchange, binding.queue, binding.key))
        self._run(self._broker(broker).unbind(binding))

    @rule(broker=few)
    def declare_again(self, broker: int) -> None:
        self._run(self._broker(broker).declare(self._queues, exchanges=self._exchanges))

    @rule(broker=few)
    def open_a_broker_again(self, broker: int) -> None:
        self._run(self._reopen(broker % 2))

    # Consuming.

    @precondition(lambda self: len(self._takers) < 4)
    @rule(queue=few, prefetch=st.integers(1, 3), broker=few)
    def consume(self, queue: int, prefetch: int, broker: int) -> None:
        self._run(self._consume(self._names[queue % 3], prefetch, broker % 2))

    @precondition(lambda self: self._takers)
    @rule(which=few)
    def stop(self, which: int) -> None:
        taker = self._takers[which % len(self._takers)]
        self._run(self._stop(taker))

    @precondition(lambda self: self._takers)
    @rule(which=few)
    def close(self, which: int) -> None:
        self._run(self._close(self._takers[which % len(self._takers)]))

    # Settling.

    @precondition(lambda self: self._open)
    @rule(which=few, goals=st.lists(few, max_size=3), delay_ms=st.sampled_from([0, 0, 30]), again=st.booleans())
    def settle(self, which: int, goals: list[int], delay_ms: int, again: bool) -> None:
        kept, delivery, _ = self._open.pop(which % len(self._open))
        replacements = self._replacements(goals, delay_ms)
        self._expect_done(kept, replacements)
        self._run(self._settle(delivery, replacements, Settlement.DONE))
        if again:
            self._run(self._settle(delivery, replacements, Settlement.LOST))
        self._spent.append(delivery)

    @precondition(lambda self: self._open)
    @rule(which=few, goals=st.lists(few, max_size=2))
    def settle_and_keep_the_slot(self, which: int, goals: list[int]) -> None:
        kept, delivery, taker = self._open.pop(which % len(self._open))
        replacements = self._replacements(goals, 0)
        self._expect_done(kept, replacements)
        taker.model.kept += 1
        self._kept.append((delivery, taker))
        self._run(self._settle(delivery, replacements, Settlement.DONE, keep_slot=True))

    @precondition(lambda self: self._kept)
    @rule(which=few)
    def release(self, which: int) -> None:
        delivery, taker = self._kept.pop(which % len(self._kept))
        taker.model.kept -= 1
        self._run(self._release(delivery))

    @precondition(lambda self: self._open)
    @rule(which=few)
    def settle_with_a_replacement_for_nobody(self, which: int) -> None:
        delivery = self._open[which % len(self._open)][1]
        with pytest.raises(Unroutable):
            self._run(delivery.settle([Outgoing(message(), f"{self._prefix}missing")]))

    @precondition(lambda self: self._spent)
    @rule(which=few, goal=few)
    def settle_what_is_lost(self, which: int, goal: int) -> None:
        delivery = self._spent[which % len(self._spent)]
        replacements = [Outgoing(message(self._body()), self._names[goal % 3])]
        self._run(self._settle(delivery, replacements, Settlement.LOST))

    # Looking.

    @rule(queue=few, broker=few)
    def browse(self, queue: int, broker: int) -> None:
        self._run(self._browse(self._names[self._looked_at(queue)], broker))

    @rule(queue=few, broker=few, drop=st.sets(st.integers(0, 3)), move=st.sets(st.integers(0, 3)), goal=few)
    def rework(self, queue: int, broker: int, drop: set[int], move: set[int], goal: int) -> None:
        name = self._names[self._looked_at(queue)]
        self._run(self._rework(name, broker, drop, move, self._names[goal % 3]))

    # Replies.

    @precondition(lambda self: len(self._letters) < 3)
    @rule(broker=few)
    def open_an_inbox(self, broker: int) -> None:
        self._run(self._open_inbox(broker % 2))

    @precondition(lambda self: self._letters)
    @rule(which=few, broker=few)
    def reply(self, which: int, broker: int) -> None:
        letters, body = self._letters[which % len(self._letters)], self._body()
        assert letters.inbox is not None
        letters.expected.append(body)
        self._run(self._publish(broker, Outgoing(message(body), letters.inbox.address, mandatory=False)))

    @rule(which=few, broker=few)
    def reply_to_who_is_gone(self, which: int, broker: int) -> None:
        address = self._gone[which % len(self._gone)]
        self._run(self._publish(broker, Outgoing(message(self._body()), address, mandatory=False)))

    # What the rules do.

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Do something, and look until the broker has done what it owes."""

        async def done() -> T:
            try:
                return await coroutine
            finally:
                await self._come_to_rest()

        return self.ground.run(done())

    async def _begin(self) -> None:
        self._brokers = [await self.ground.stand.new().__aenter__() for _ in range(2)]
        await self._brokers[0].declare(self._queues, exchanges=self._exchanges)

    async def _end(self) -> None:
        for taker in list(self._takers):
            await self._close(taker)
            await self._come_to_rest()
        last = max(
            (each.due or 0.0 for queue in self.model.queues.values() for each in queue.messages.values()), default=0
        )
        await asyncio.sleep(max(0.0, last - time.time()))
        try:
            for name, queue in self.model.queues.items():
                await self._sees(0, f"{name}.dead", set(queue.dead))
            if self._embedded:
                for name in self.model.queues:
                    await self._browse(name, 0)
                await self._check_states()
            else:
                await self._take_all()
        finally:
            for broker in self._brokers:
                await broker.__aexit__(None, None, None)

    async def _come_to_rest(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while True:
            self._absorb()
            owed = list(self.model.owed(time.time(), 0.0))
            missing = [letters for letters in self._letters if letters.received != letters.expected]
            if not owed and not missing:
                break
            if time.monotonic() > until:
                raise ContractBroken(f"not within {PATIENCE_S:g} s: {owed}, {[each.expected for each in missing]}")
            await asyncio.sleep(0.002)
        await asyncio.sleep(0)
        self._absorb()

    def _absorb(self) -> None:
        arrived = [(delivery, at, taker) for taker in self._takers for delivery, at in taker.arrived]
        for taker in self._takers:
            taker.arrived.clear()
        for delivery, at, taker in sorted(arrived, key=lambda each: each[1]):
            kept = self.model.take(taker.model, delivery.message.body, delivery.redeliveries, at)
            self._open.append((kept, delivery, taker))
        for letters in self._letters:
            if letters.received != letters.expected[: len(letters.received)]:
                raise ContractBroken(f"an inbox got {letters.received}, and not {letters.expected}")

    async def _publish(self, broker: int, *outgoing: Outgoing) -> None:
        confirmations = [self._broker(broker).publish(each, timeout_s=TIMEOUT_S) for each in outgoing]
        await asyncio.gather(*confirmations)

    async def _consume(self, queue: str, prefetch: int, broker: int) -> None:
        taker = Taker(ModelConsumer(self.model.queues[queue], prefetch), broker)
        self._takers.append(taker)
        self.model.queues[queue].consumers.append(taker.model)
        taker.consumer = await self._brokers[broker].consume(queue, prefetch=prefetch, deliver=taker)

    async def _stop(self, taker: Taker) -> None:
        assert taker.consumer is not None
        await taker.consumer.stop()
        self._absorb()
        taker.model.stopped = True

    async def _close(self, taker: Taker) -> None:
        assert taker.consumer is not None
        await taker.consumer.close()
        self._left(taker)

    def _left(self, taker: Taker) -> None:
        """A consumer is gone: its deliveries are somebody else's."""
        taker.arrived.clear()
        self._takers.remove(taker)
        self._spent += [delivery for _, delivery, own in self._open if own is taker]
        self._open = [each for each in self._open if each[2] is not taker]
        self._kept = [each for each in self._kept if each[1] is not taker]
        self.model.close(taker.model)

    async def _reopen(self, number: int) -> None:
        own = [taker for taker in self._takers if taker.broker == number]
        for taker in [] if self._embedded else own[1:]:  # else what one gives back reaches another that goes too
            await self._close(taker)
            await self._come_to_rest()
        await self._brokers[number].__aexit__(None, None, None)
        for taker in [taker for taker in self._takers if taker.broker == number]:
            self._left(taker)
        self._gone += [each.inbox.address for each in self._letters if each.broker == number and each.inbox is not None]
        self._letters = [letters for letters in self._letters if letters.broker != number]
        self._brokers[number] = await self.ground.stand.new().__aenter__()

    async def _settle(
        self, delivery: Delivery, replacements: list[Outgoing], expected: Settlement, *, keep_slot: bool = False
    ) -> None:
        settlement = await delivery.settle(replacements, keep_slot=keep_slot)
        if settlement is not expected:
            raise ContractBroken(f"settling {delivery.message.body!r} came to {settlement}, not {expected}")

    async def _release(self, delivery: Delivery) -> None:
        delivery.release_slot()
        delivery.release_slot()

    def _expect_done(self, kept: Kept, replacements: list[Outgoing]) -> None:
        self.model.settle(kept)
        for each in replacements:
            self.model.put(each.queue, each.message.body, due=each.not_before, moved=True)

    async def _browse(self, queue: str, broker: int) -> None:
        self._disturb(queue)
        await self._sees(broker, queue, {each.body for each in self.model.queues[queue].ready(time.time())})

    async def _sees(self, broker: int, queue: str, expected: set[bytes]) -> None:
        """Look until it is what it has to be; RabbitMQ has messages back a moment after their consumer has gone."""
        until = time.monotonic() + (0.0 if self._embedded else PATIENCE_S)
        while True:
            before = time.time()
            seen = [each.body for each in await self._broker(broker).inspector.browse(queue, limit=99)]
            due = self.model.queues[queue].ready(time.time()) if queue in self.model.queues else []
            may = expected | {each.body for each in due}
            if expected <= set(seen) <= may and len(seen) == len(set(seen)):
                return
            if time.monotonic() > until:
                raise ContractBroken(f"{queue} shows {seen} at {before}, not {sorted(expected)}")
            if queue in self.model.queues:
                self._disturb(queue)
            await asyncio.sleep(0.02)

    def _disturb(self, queue: str) -> None:
        """On RabbitMQ, a look takes messages and gives them back."""
        if not self._embedded:
            for each in self.model.queues[queue].messages.values():
                each.looks += 1
                each.disturbed = True

    async def _rework(self, queue: str, broker: int, drop: set[int], move: set[int], goal: str) -> None:
        await self._browse(queue, broker)
        self._disturb(queue)
        offered: list[bytes] = []
        moved: list[tuple[bytes, Outgoing | None]] = []

        def decide(offer: Message) -> list[Outgoing] | None:
            number = len(offered)
            offered.append(offer.body)
            if number in drop:
                moved.append((offer.body, None))
                return []
            if number not in move:
                return None
            replacement = Outgoing(message(self._body()), goal)
            moved.append((offer.body, replacement))
            return [replacement]

        settled = await self._broker(broker).inspector.rework(queue, decide)
        if settled != len(moved) or len(offered) != len(set(offered)):
            raise ContractBroken(f"a rework of {queue} settled {settled}, not {len(moved)}; offered: {offered}")
        for body, replacement in moved:
            if body not in self.model.queues[queue].messages:
                raise ContractBroken(f"a rework of {queue} was offered {body!r}, which is not there")
            del self.model.queues[queue].messages[body]
            if replacement is not None:
                self.model.put(goal, replacement.message.body, moved=True)

    async def _open_inbox(self, broker: int) -> None:
        letters = Letters(broker)
        letters.inbox = await self._brokers[broker].open_inbox(letters)
        self._letters.append(letters)

    async def _take_all(self) -> None:
        """Where looks count as redeliveries, what is left is taken instead: no more may come, and no less."""
        for name in self.model.queues:
            await self._consume(name, 999, 0)
        await self._come_to_rest()

    async def _check_states(self) -> None:
        states = {state.name: state for state in await self._brokers[0].inspector.queues()}
        for name, queue in self.model.queues.items():
            state = states[name]
            seen = (state.ready, state.unsettled, state.delayed, state.consumers)
            if seen != (len(queue.messages), 0, 0, 0):
                raise ContractBroken(f"{name} has {len(queue.messages)} messages; the broker says {state}")

    def _broker(self, number: int) -> Broker:
        return self._brokers[number % 2]

    def _body(self) -> bytes:
        return b"%s%d" % (self._prefix.encode(), next(self._bodies))

    def _looked_at(self, queue: int) -> int:
        """Where looks count as redeliveries, none is made into a queue that has a low limit of them."""
        return queue % (3 if self._embedded else 2)

    def _binding(self, exchange: int, queue: int, key: str, pattern: str) -> Binding:
        definition = self._exchanges[exchange % 3]
        bound = {"fanout": "", "direct": key, "topic": pattern}[definition.kind]
        return Binding(exchange=definition.name, queue=self._names[queue % 3], key=bound)

    def _replacements(self, goals: list[int], delay_ms: int) -> list[Outgoing]:
        due = time.time() + delay_ms / 1000 if delay_ms else None
        return [Outgoing(message(self._body()), self._names[goal % 3], not_before=due) for goal in goals]
