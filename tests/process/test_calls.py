"""Calls: each caller gets the result of its own job."""

import asyncio

from tests.support.program import echo
from tests.support.stage import Stage

CALLS = 1000


async def test_a_thousand_concurrent_calls_come_back_each_with_its_own_result(stage: Stage) -> None:
    for _ in range(2):
        await stage.workers.start("--queue", "calls=20")

    async def call(number: int) -> int:
        bound = stage.announce(echo.bind(number))
        assert bound.options.job_id is not None
        of, returned = await echo.with_options(job_id=bound.options.job_id).call(number)
        stage.pen.answered(bound.options.job_id, of=of)
        return returned

    assert await asyncio.gather(*map(call, range(CALLS))) == list(range(CALLS))
    assert len(stage.app.connection.replies) == 0
    await stage.until_at_rest()
    report = await stage.report()
    assert report.findings == (), str(report)
    assert report.executions == CALLS
