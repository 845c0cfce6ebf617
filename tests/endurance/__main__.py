"""Long runs, by command: ``python -m tests.endurance reconnects | timeouts | soak``.

Each prints what it measured, and ends with 1 when something grows or a confirmed job was lost. ``growth`` says by which
rule. ``--log FILE`` keeps the samples, one JSON object on each line.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from tests.endurance import reconnects, soak, timeouts
from tests.endurance.brokers import Ground, on_file, on_rabbitmq, own_node
from tests.endurance.outcome import Outcome
from tests.endurance.watch import Watch
from tests.support.rabbit import SYSTEM


def main() -> int:
    """Run what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    runs = parser.add_subparsers(dest="run", required=True)
    for name, what, kind, default in (
        ("reconnects", "count", int, 1_000),
        ("timeouts", "count", int, 100_000),
        ("soak", "minutes", float, 20.0),
    ):
        run = runs.add_parser(name)
        run.add_argument(f"--{what}", type=kind, default=default)
        run.add_argument("--samples", type=int, default=40)
        run.add_argument("--seed", type=int, default=1)
        run.add_argument("--log", type=Path)
        brokers = ["rabbitmq"] if name == "reconnects" else ["rabbitmq", "sqlite"]
        run.add_argument("--broker", choices=brokers, default="rabbitmq")
        run.add_argument("--version", default=SYSTEM, help="of RabbitMQ: 'system', or the folder of a chroot")
    given = parser.parse_args()
    outcome = asyncio.run(_run(given))
    print(outcome)
    return 0 if outcome.good else 1


async def _run(given: argparse.Namespace) -> Outcome:
    async with _ground(given) as ground:
        common = {"samples": given.samples, "seed": given.seed}
        with closing(Watch(ground.census, given.log)) as watch:
            match given.run:
                case "reconnects":
                    return await reconnects.run(ground, watch, cuts=given.count, **common)
                case "timeouts":
                    return await timeouts.run(ground, watch, count=given.count, **common)
                case _:
                    return await soak.run(ground, watch, seconds=60 * given.minutes, **common)


@asynccontextmanager
async def _ground(given: argparse.Namespace) -> AsyncIterator[Ground]:
    if given.broker == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield on_file(Path(folder))
        return
    node = own_node(given.version)
    try:
        async with on_rabbitmq(node) as ground:
            yield ground
    finally:
        node.close()


if __name__ == "__main__":
    sys.exit(main())
