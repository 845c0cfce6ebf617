"""taskq on RabbitMQ beside bare aio-pika and the bare data plane: ``python -m benchmarks [--rounds N] [--jobs N]``.

It starts a RabbitMQ of its own. Each measurement is a process of its own, on uvloop, one after another; the rounds are
interleaved, and the medians are compared, since the speed of a machine drifts. Every queue is a durable quorum queue,
every message persistent, every publish confirmed, every delivery acknowledged by hand after it was executed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections import defaultdict

from tests.support import rabbit

GOALS = (
    ("enqueue, 1,000 in flight", "taskq.enqueue", "aio-pika.enqueue", 2.5),
    ("drain, prefetch 1,000", "taskq.drain", "aio-pika.drain", 3.0),
    ("drain, prefetch 1", "taskq.drain-1", "plane.drain-1", 0.85),
    ("calls, 100 in flight", "taskq.call", "aio-pika.call", 1.0),
)
KINDS = sorted({kind for _, ours, theirs, _ in GOALS for kind in (ours, theirs)})


def main() -> None:
    """Measure, and print one line for each goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=30_000)
    chosen = parser.parse_args()
    broker = rabbit.shared()
    rates: dict[str, list[float]] = defaultdict(list)
    for number in range(chosen.rounds):
        for kind in KINDS if number % 2 else reversed(KINDS):
            url = broker.new_vhost()
            rates[kind].append(_measured(kind, url, chosen.jobs))
            broker.drop_vhost(url)
    for what, ours, theirs, goal in GOALS:
        mine, other = (statistics.median(rates[kind]) for kind in (ours, theirs))
        print(f"{what:26} {ours:14} {mine:9,.0f}/s   {theirs:18} {other:9,.0f}/s   {mine / other:5.2f} x (goal {goal})")


def _measured(kind: str, url: str, jobs: int) -> float:
    """Return how many jobs a second a measurement reached."""
    program, _, what = kind.partition(".")
    module = "benchmarks.ours" if program == "taskq" else "benchmarks.bare"
    done = subprocess.run(
        [sys.executable, "-m", module, program, what, url, str(jobs)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr}")
    return float(json.loads(done.stdout)["rate"])


if __name__ == "__main__":
    main()
