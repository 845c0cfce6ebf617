"""``python -m tests.simulation``: runs many seeds, and says of each that fails how to see it again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter

from tests.simulation.many import results
from tests.simulation.run import Result, place, run_seed

_TOLD_EVERY_S = 5.0


def main() -> int:
    """Run the seeds of the command line; return the number for the shell."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="1..1000", help="one seed, or the first and last (default 1..1000)")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=int, default=cores, help="default: one for each core")
    parser.add_argument("--trace", action="store_true", help="print every callback of each seed")
    arguments = parser.parse_args()
    seeds = _seeds(arguments.seeds)
    if arguments.trace:
        return _tell(seeds)
    return _run(seeds, arguments.processes)


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last or first) + 1)


def _tell(seeds: range) -> int:
    failed = 0
    with place() as folder:
        for seed in seeds:
            result = run_seed(seed, folder, tell=True)
            print(f"== seed {seed}", *result.trace, sep="\n")
            failed += _judged(result)
    return min(failed, 1)


def _run(seeds: range, processes: int) -> int:
    began = told = time.monotonic()
    done = failed = jobs = duplicates = callbacks = 0
    virtual_s = 0.0
    faults: Counter[str] = Counter()
    for result in results(seeds, processes):
        done += 1
        jobs += result.jobs
        duplicates += result.duplicates
        virtual_s += result.virtual_s
        callbacks += result.callbacks
        faults.update(result.faults)
        failed += _judged(result)
        if time.monotonic() - told > _TOLD_EVERY_S:
            told = time.monotonic()
            a_minute = done / (told - began) * 60
            print(f"{done} of {len(seeds)} seeds, {a_minute:.0f} a minute, {failed} failed", flush=True)
    took = time.monotonic() - began
    print(
        f"{done} seeds ({seeds[0]}..{seeds[-1]}) in {took:.0f} s, {done / took * 60:.0f} a minute: {failed} failed\n"
        f"{jobs} jobs confirmed, {duplicates} run twice for a reason, {sum(faults.values())} faults, "
        f"{callbacks} callbacks, {virtual_s / 3600:.1f} virtual hours\n"
        + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items()))
    )
    return min(failed, 1)


def _judged(result: Result) -> bool:
    if result.wrong:
        print(f"seed {result.seed} FAILED, see it with: python -m tests.simulation --seeds {result.seed} --trace")
        print(*[f"  {each}" for each in result.wrong[:10]], sep="\n", flush=True)
    return bool(result.wrong)


if __name__ == "__main__":
    sys.exit(main())
