"""Many seeds, in several processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from tests.simulation.run import Result, place, run_seed

_AT_ONCE = 20


def results(seeds: range, processes: int) -> Iterator[Result]:
    """Run seeds, and yield what came of each as soon as it is known, without its trace."""
    chunks = [seeds[at : at + _AT_ONCE] for at in range(0, len(seeds), _AT_ONCE)]
    with place() as folder:
        if processes <= 1:
            for chunk in chunks:
                yield from _run(folder, chunk)
            return
        with get_context("spawn").Pool(processes) as pool:
            for found in pool.imap_unordered(partial(_run, folder), chunks):
                yield from found


def _run(folder: Path, seeds: range) -> list[Result]:
    logging.getLogger("taskq").disabled = True
    return [replace(run_seed(seed, folder), trace=()) for seed in seeds]
