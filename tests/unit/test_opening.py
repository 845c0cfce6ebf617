"""An opening that many wait for: it happens once, and nobody's end is another's."""

import asyncio

import pytest

from taskq.errors import UsageError
from taskq.opening import Opening


class Door:
    """Opens when `go_on` is set, or fails with `error`; counts how often that was begun."""

    def __init__(self) -> None:
        self.tried = 0
        self.go_on = asyncio.Event()
        self.error: Exception | None = None
        self.ended = 0
        self.opening = Opening(self._open, name="door", closed=lambda: UsageError("it is closed"))

    async def _open(self) -> str:
        self.tried += 1
        try:
            await self.go_on.wait()
        finally:
            self.ended += 1
        if self.error is not None:
            raise self.error
        return "open"

    async def waits(self, count: int) -> list[asyncio.Task[str]]:
        tasks = [asyncio.create_task(self.opening.result()) for _ in range(count)]
        for _ in range(2):  # the waits begin, and then the opening
            await asyncio.sleep(0)
        return tasks


async def test_it_is_opened_once_for_all_who_ask_meanwhile_and_later() -> None:
    door = Door()
    tasks = await door.waits(5)
    assert not door.opening.done
    door.go_on.set()
    assert await asyncio.gather(*tasks) == ["open"] * 5
    assert await door.opening.result() == "open"
    assert (door.tried, door.opening.done) == (1, True)


async def test_a_wait_that_is_cancelled_leaves_the_opening_and_the_others() -> None:
    door = Door()
    first, other = await door.waits(2)
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    door.go_on.set()
    assert await other == "open"


async def test_an_error_goes_to_all_who_wait_and_the_next_tries_again() -> None:
    door = Door()
    door.error = ValueError("no")
    tasks = await door.waits(3)
    door.go_on.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in errors] == [ValueError] * 3
    door.error = None
    assert await door.opening.result() == "open"
    assert door.tried == 2


async def test_an_error_that_nobody_waits_for_any_more_is_no_noise() -> None:
    door = Door()
    door.error = ValueError("no")
    (only,) = await door.waits(1)
    only.cancel()
    door.go_on.set()
    await asyncio.wait([only])
    assert not door.opening.done


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_the_end_wakes_all_who_wait_and_whoever_comes_later(how: str) -> None:
    door = Door()
    tasks = await door.waits(2)
    if how == "close":
        await door.opening.close()
        assert door.ended == 1
    else:
        door.opening.abort()
    for wait in (*tasks, door.opening.result()):
        with pytest.raises(UsageError, match="it is closed"):
            await wait
    await door.opening.close()
    assert door.tried == 1


async def test_a_close_before_and_after_the_opening_is_harmless() -> None:
    unopened, opened = Door(), Door()
    await unopened.opening.close()
    opened.go_on.set()
    assert await opened.opening.result() == "open"
    await opened.opening.close()
    await opened.opening.close()
    assert (unopened.tried, opened.tried) == (0, 1)
