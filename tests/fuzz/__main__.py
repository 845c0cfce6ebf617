"""The command line: it prints how many inputs were tried, and the smallest one that fails, with how to run it again."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.engine import Fuzzer, Outcome, run
from tests.fuzz.plane import PlaneFuzzer
from tests.fuzz.wire import WireFuzzer

FUZZERS: dict[str, type[Fuzzer]] = {"wire": WireFuzzer, "plane": PlaneFuzzer}


def main() -> int:
    """Fuzz as the command line says; the status is 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", choices=FUZZERS)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to go on")
    parser.add_argument("--executions", type=int, help="how many inputs to try instead, whatever time it takes")
    parser.add_argument("--first", type=int, default=0, help="the number of the first input")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="try the input of that number alone")
    given = parser.parse_args()
    if given.only is not None:
        given.first, given.executions = given.only, 1
    seconds = None if given.executions is not None else given.seconds
    outcome = run(FUZZERS[given.what](), given.seed, seconds=seconds, executions=given.executions, first=given.first)
    print(report(given.what, given.seed, outcome), flush=True)
    return 1 if outcome.finding else 0


def report(what: str, seed: int, outcome: Outcome) -> str:
    """Return what there is to say about a run."""
    counts = ", ".join(f"{name} {number:,}" for name, number in sorted(outcome.kinds.items()))
    said = f"{what}, seed {seed}: {outcome.executions:,} executions in {outcome.seconds:.0f} s ({counts})"
    finding = outcome.finding
    if finding is None:
        return f"{said}; nothing found"
    return "\n".join(
        (
            said,
            f"FOUND at {finding.number}: {finding.error}",
            finding.traceback.rstrip(),
            f"the smallest input that fails so: {finding.smallest}",
            f"again: python -m tests.fuzz {what} --seed {seed} --only {finding.number}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
