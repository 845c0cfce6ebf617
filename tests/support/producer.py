"""A producer that enqueues without end, 50 jobs at a time, until it is killed: ``-m tests.support.producer DIR``.

``DIR`` is the folder of its ledger. The environment names the broker.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from taskq.wire.ids import new_job_id
from tests.support.ledger import Pen
from tests.support.program import app, work

IN_FLIGHT = 50


async def produce(pen: Pen) -> None:
    """Enqueue one job after the other, each with its lines in the ledger."""
    while True:
        job_id = new_job_id()
        pen.wanted(job_id)
        await work.with_options(job_id=job_id).enqueue()
        pen.confirmed(job_id)


async def main(folder: Path) -> None:
    """Run until killed."""
    pen = Pen(folder)
    async with app, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(produce(pen))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
