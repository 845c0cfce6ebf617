"""Opening and closing: while busy, twice, and by different loops of one process."""

import asyncio
import threading

import pytest

from taskq.errors import TaskqError, UsageError
from tests.conformance.stand import TIMEOUT_S, Stand, consuming, publish, to


async def test_closing_while_busy_loses_no_confirmed_message(stand: Stand) -> None:
    keeper = await stand.open(None, "work")
    broker = stand.new()
    await broker.__aenter__()
    sends = [asyncio.ensure_future(broker.publish(to("work", b"%d" % n), timeout_s=TIMEOUT_S)) for n in range(500)]
    await asyncio.sleep(0)
    await broker.__aexit__(None, None, None)
    results = await asyncio.gather(*sends, return_exceptions=True)
    assert all(result is None or isinstance(result, TaskqError) for result in results)
    stored = {each.body for each in await keeper.inspector.browse("work", limit=1_000)}
    assert {b"%d" % n for n, result in enumerate(results) if result is None} <= stored


async def test_closing_waits_for_settles_under_way(stand: Stand) -> None:
    keeper = await stand.open(None, "work", "next")
    await publish(keeper, to("work"))
    async with stand.new() as broker:
        catch, _ = await consuming(broker, "work")
        settling = asyncio.create_task((await catch.next()).settle([to("next")]))
        await asyncio.sleep(0)
    assert (await settling).value == "done"
    states = {queue.name: queue.ready + (queue.unsettled or 0) for queue in await keeper.inspector.queues()}
    assert states == {"next": 1, "next.dead": 0, "work": 0, "work.dead": 0}


async def test_closing_twice_is_harmless_and_a_closed_broker_says_so(stand: Stand) -> None:
    async with stand.new() as broker:
        catch, consumer = await consuming(await stand.open(None, "work"), "work")
    await broker.__aexit__(None, None, None)
    with pytest.raises(UsageError):
        await broker.publish(to("work"), timeout_s=TIMEOUT_S)
    with pytest.raises(UsageError):
        await broker.__aenter__()
    await consumer.close()
    assert catch.empty


async def test_using_a_broker_before_it_is_open_is_a_usage_error(stand: Stand) -> None:
    with pytest.raises(UsageError, match="async with"):
        await stand.new().declare([])


async def test_the_label_is_the_url_for_people(stand: Stand) -> None:
    assert stand.new().label == stand.url.replace(":guest@", ":***@")


async def test_brokers_on_different_loops_of_one_process_work_together(stand: Stand) -> None:
    here = await stand.open(None, "work", "answers")
    catch, _ = await consuming(here, "answers")
    failed: list[BaseException] = []

    async def there() -> None:
        async with stand.new() as broker:
            requests, _ = await consuming(broker, "work")
            for _ in range(5):
                delivery = await requests.next()
                await delivery.settle([to("answers", delivery.message.body)])

    def run() -> None:
        try:
            asyncio.run(there())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    for number in range(5):
        await publish(here, to("work", b"%d" % number))
        assert await catch.settled() == b"%d" % number
    await asyncio.to_thread(thread.join)
    assert failed == []
