"""taskq beside its peers and its limit: ``python -m benchmarks [--quick] [--only …] [--measure …] [--rounds N]``.

``python -m benchmarks report [FILE]`` writes `docs/performance.md` and its charts from a run's results.

A run starts RabbitMQ, Redis and PostgreSQL of its own, and makes a virtual environment for each contender.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks import machine, report
from benchmarks.console import told
from benchmarks.contender import Contender
from benchmarks.growth import BRIEF, Sizes, grow
from benchmarks.measurement import FULL, MEASURES, QUICK
from benchmarks.results import Entrant, Results
from benchmarks.roster import ROSTER
from benchmarks.rounds import Rounds, steps_for
from benchmarks.server import NoServer
from benchmarks.servers import Servers

_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure, save, and print a table and the goals."""
    options = _parser().parse_args()
    if options.report:
        for path in report.write(Results.load(options.file or _RESULTS / "full.json")):
            print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that all that was started is ended
    contenders = _chosen(options.only)
    scale = QUICK if options.quick else FULL
    path = options.save or _RESULTS / f"{_kind(options)}.json"
    with Servers() as servers:
        results = Results(_described(servers), [_entrant(each) for each in contenders])
        try:
            rounds = Rounds(results, servers, contenders, scale)
            for _ in range(options.rounds or (1 if options.quick else 3)):
                rounds.run(steps_for(options.measure))
                results.save(path)
            if options.growth or not (options.quick or options.measure):
                grow(results, servers, BRIEF if options.quick else Sizes(), [each.name for each in contenders])
        except KeyboardInterrupt:
            print("interrupted: what was measured so far", file=sys.stderr)
        results.save(path)
    print(told(results))


def _described(servers: Servers) -> dict[str, str]:
    try:
        return machine.described(" ".join(["python -m benchmarks", *sys.argv[1:]]), servers)
    except NoServer as error:
        sys.exit(f"taskq: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", nargs="?", choices=["report"], help="write the page instead of measuring")
    parser.add_argument("file", nargs="?", type=Path, help="results for the report; else those of the last full run")
    parser.add_argument("--quick", action="store_true", help="one short round, without growth: a rough table")
    parser.add_argument("--only", type=_names, default=[], help="contenders, or beginnings of their names, by commas")
    parser.add_argument("--measure", type=_measures, default=[], help=f"of {', '.join(MEASURES)}; by commas")
    parser.add_argument("--rounds", type=int, help="3, with --quick 1")
    parser.add_argument("--growth", action="store_true", help="how cost grows, also where it would be left out")
    parser.add_argument("--save", type=Path, help="where the results go; else benchmarks/results")
    return parser


def _kind(options: argparse.Namespace) -> str:
    """Return which results a run replaces: a part never those of all."""
    if options.only or options.measure:
        return "part"
    return "quick" if options.quick else "full"


def _names(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if not any(each.name.startswith(name) for each in ROSTER):
            raise argparse.ArgumentTypeError(f"no {name!r}; there are {', '.join(each.name for each in ROSTER)}")
    return names


def _measures(text: str) -> list[str]:
    measures = text.split(",")
    if unknown := set(measures).difference(MEASURES):
        raise argparse.ArgumentTypeError(f"no {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    return measures


def _chosen(only: list[str]) -> list[Contender]:
    return [each for each in ROSTER if not only or any(each.name.startswith(name) for name in only)]


def _entrant(contender: Contender) -> Entrant:
    versions = ", ".join(contender.requirements) or "this checkout"
    return Entrant(contender.name, contender.title, contender.store, contender.role, contender.guarantee, versions)


if __name__ == "__main__":
    main()
