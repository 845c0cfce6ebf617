"""``python -m workers.demo``: start two workers, give them work, watch it, and stop. It exits 0 when all came right."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from taskq import ResultJob, TaskFailed, TaskqError
from workers.demo.journal import tell_retries_and_deaths
from workers.demo.tasks import Done, app, compress, count_lines, digest, outline, verify

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 2
console = Console(highlight=False)


def real_files() -> list[Path]:
    """Return the text files of this repository."""
    folders = (ROOT / name for name in ("taskq", "tests", "workers", "docs"))
    return sorted(p for folder in folders for p in folder.rglob("*") if p.suffix in (".py", ".md", ".sql"))


@asynccontextmanager
async def workers(folder: Path) -> AsyncGenerator[list[Path]]:
    """Run worker processes inside the block; yield the paths of their logs. SIGTERM ends them in order."""
    logs = [folder / f"worker-{number}.log" for number in range(1, WORKERS + 1)]
    command = [sys.executable, "-m", "taskq", "worker", "workers.demo.tasks:app", "--concurrency", "2"]
    started: list[asyncio.subprocess.Process] = []
    try:
        for log in logs:
            with log.open("wb") as out:
                started.append(
                    await asyncio.create_subprocess_exec(*command, "--log-format", "json", stderr=out, cwd=ROOT)
                )
        console.print(f"two workers: processes {', '.join(str(p.pid) for p in started)}")
        yield logs
    finally:
        for process in started:
            if process.returncode is None:
                process.terminate()
        statuses = [await process.wait() for process in started]
        console.print(f"workers stopped by SIGTERM, exit statuses {statuses}")


async def submit_all(files: Sequence[Path], folder: Path) -> list[ResultJob[Done]]:
    """Enqueue the whole mix. Verifications go first: their archives are not there yet, so they are retried."""
    largest = sorted(files, key=lambda p: p.stat().st_size)[-6:]
    jobs = [await verify.submit(folder / f"{p.name}.xz", sha256_of(p)) for p in largest[:2]]
    jobs += [await digest.submit(path) for path in files]
    jobs += [await outline.submit(path) for path in files if path.suffix == ".py"]
    jobs += [await compress.submit(path, folder) for path in largest]
    return jobs


async def watch(jobs: Sequence[ResultJob[Done]]) -> list[Done]:
    """Show the jobs' progress until all have ended, and return what those that succeeded returned."""
    columns = (TextColumn("{task.description:<9}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        totals = Counter(job.task for job in jobs)
        bars = {name: progress.add_task(name, total=total) for name, total in totals.items()}

        async def one(job: ResultJob[Done]) -> Done | None:
            try:
                return await job.result()
            except TaskqError as error:
                console.print(f"[red]failed[/] {escape(str(error))}", soft_wrap=True)
                return None
            finally:
                progress.advance(bars[job.task])

        ended = await asyncio.gather(*(one(job) for job in jobs))
    return [done for done in ended if done is not None]


async def show_dead_letter(readme: Path) -> None:
    """Give the parser something that is no Python, and show what becomes of it."""
    try:
        await outline.call(readme)
    except TaskFailed as error:
        console.print(f"[red]dead letter[/]  {error.task}: {error.remote_type}: {escape(error.remote_message)}")
    for letter in await app.dead_letters.list("files"):
        console.print(f"  kept in files.dead: job {letter.job_id}, {letter.reason} after attempt {letter.attempt}")


def sha256_of(path: Path) -> str:
    """Return a file's digest, to hold the workers' results against."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def run(folder: Path) -> int:
    """Play the whole demonstration in ``folder``; return the exit status."""
    os.environ["TASKQ_URL"] = f"sqlite:///{folder / 'demo.db'}"
    files = real_files()
    async with app, workers(folder) as logs, tell_retries_and_deaths(logs, console):
        jobs = await submit_all(files, folder)
        console.print(f"{len(jobs)} jobs enqueued, each confirmed by the broker ({folder / 'demo.db'})", soft_wrap=True)
        results = await watch(jobs)
        await show_dead_letter(ROOT / "README.md")
        lines = await count_lines.call(files)
        console.print(f"[green]rpc result[/]  count_lines → {lines}")
        dead = await app.dead_letters.list("files")
    right = all(done.text == sha256_of(done.path) for done in results if done.text)
    shares = Counter(done.worker for done in results)
    console.print(f"{len(results)} results, digests {'right' if right else 'WRONG'}; jobs by worker: {dict(shares)}")
    return 0 if right and len(results) == len(jobs) and len(dead) == 1 and len(shares) == WORKERS else 1


def main() -> int:
    """Run in a temporary folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="taskq-demo-") as folder:
        return asyncio.run(run(Path(folder)))


if __name__ == "__main__":
    sys.exit(main())
