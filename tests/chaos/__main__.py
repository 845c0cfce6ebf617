"""`python -m tests.chaos --broker sqlite --seconds 600 --seed 1`: break things for long, and say what was found.

It exits with 1 when a promise was broken, and says with what it can be repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.outcome import Outcome
from tests.chaos.run import Run, Shape
from tests.chaos.sites.sqlite import SqliteSite

_SITES = {"sqlite": SqliteSite}


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break things under a running system.")
    parser.add_argument("--broker", choices=sorted(_SITES), default="sqlite")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long new faults are begun")
    parser.add_argument("--faults", type=int, help="end after so many faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the outcome into this file, as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="taskq-chaos-") as folder:
        outcome = asyncio.run(_run(given, Path(folder)))
    if given.save is not None:
        outcome.save(given.save)
    print(_told(outcome), flush=True)
    return 1 if outcome.violations or outcome.leftovers or outcome.slow else 0


async def _run(given: argparse.Namespace, folder: Path) -> Outcome:
    async with _SITES[given.broker](folder) as site:
        run = Run(site, folder, seed=given.seed, shape=Shape(), tell=lambda line: print(line, flush=True))
        return await run.carry_out(seconds=given.seconds, most=given.faults)


def _told(outcome: Outcome) -> str:
    numbers = (
        f"{outcome.site}, seed {outcome.seed}: {len(outcome.tried)} faults in {outcome.seconds:g} s, "
        f"{outcome.confirmed} confirmed, {outcome.executions} executions, {outcome.dead} dead, {outcome.lost} lost, "
        f"{outcome.duplicates} doubled {outcome.duplicates_by}; {outcome.answered} answered, "
        f"{outcome.unanswered} unanswered, {outcome.refused} refused"
    )
    slow = (f"SLOW: {each.name}: {each.recovered_s:.2f} s of {each.bound_s:g}" for each in outcome.slow)
    broken = (f"BROKEN: {each}" for each in (*outcome.violations, *outcome.leftovers))
    return "\n".join((numbers, *slow, *broken))


if __name__ == "__main__":
    sys.exit(main())
