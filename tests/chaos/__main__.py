"""`python -m tests.chaos --broker rabbitmq --seconds 600 --seed 1`: break things for long, and say what was found.

It exits with 1 when a promise was broken, says with what it can be repeated, and keeps the ledgers and the logs.
`python -m tests.chaos report FILE…` writes the tables of `docs/reliability.md` from saved outcomes.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.chaos import report
from tests.chaos.outcome import Outcome
from tests.chaos.run import Run
from tests.chaos.sites import BROKERS, shape_of, site_of


def main() -> int:
    """Do what the arguments say."""
    if sys.argv[1:2] == ["report"]:
        report.write([Path(name) for name in sys.argv[2:]])
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Break things under a running system.")
    parser.add_argument("--broker", choices=sorted(BROKERS), default="sqlite")
    parser.add_argument("--seconds", type=float, default=60.0, help="for how long new faults are begun")
    parser.add_argument("--faults", type=int, help="end after so many faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, help="write the outcome into this file, as JSON")
    given = parser.parse_args()
    command = _command(given)
    folder = Path(tempfile.mkdtemp(prefix="taskq-chaos-"))
    good = False
    try:
        outcome = asyncio.run(_run(given, folder, command))
        if given.save is not None:
            outcome.save(given.save)
        print(told(outcome), flush=True)
        good = outcome.good
    except Exception:
        traceback.print_exc()
    if good:
        shutil.rmtree(folder)
    else:
        print(f"to repeat it: {command}\nledgers and logs: {folder}", flush=True)
    return 0 if good else 1


def _command(given: argparse.Namespace) -> str:
    most = "" if given.faults is None else f" --faults {given.faults}"
    return f"python -m tests.chaos --broker {given.broker} --seconds {given.seconds:g}{most} --seed {given.seed}"


async def _run(given: argparse.Namespace, folder: Path, command: str) -> Outcome:
    async with site_of(given.broker, folder) as site:
        run = Run(site, folder, seed=given.seed, shape=shape_of(given.broker), command=command, tell=_tell)
        return await run.carry_out(seconds=given.seconds, most=given.faults)


def _tell(line: str) -> None:
    print(line, flush=True)


def told(outcome: Outcome) -> str:
    """Return what was found, for people."""
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
