"""PostgreSQL as it is installed: each commit is flushed to the disk. It refuses root, and is run as somebody else."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.server import NoServer, Server, program, somebody

_USER = "bench"


class Postgres(Server):
    """One server; each contender has a database of its own in it."""

    stop_signal = signal.SIGINT  # "fast": does not wait for clients

    def url(self, database: str) -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        user = somebody()
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        self._run("initdb", "-D", str(self._data), "-U", _USER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")

    def command(self) -> Sequence[str]:
        place = ("-D", str(self._data), "-p", str(self.port), "-c", f"unix_socket_directories={self.folder}")
        return (postgres_program("postgres"), *place, "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200")

    def answers(self) -> bool:
        return self._status("pg_isready", "-q") == 0

    def identity(self) -> dict[str, Any]:
        user = somebody()
        return {} if user is None else {"user": user.pw_uid, "group": user.pw_gid}

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"bench_{uuid.uuid4().hex[:12]}"
        self._run("createdb", *self._where, name)
        return name

    def drop_database(self, name: str) -> None:
        self._run("dropdb", *self._where, "--force", name)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def _where(self) -> tuple[str, ...]:
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", _USER)

    def _status(self, name: str, *arguments: str) -> int:
        return subprocess.run([postgres_program(name), *self._where, *arguments], check=False).returncode

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [postgres_program(name), *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            **self.identity(),
        )
        if done.returncode:
            raise NoServer(f"{name}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")


def postgres_program(name: str) -> str:
    """Return where a program of PostgreSQL is: Debian has them off the path, the newest version is taken."""
    return program(name, *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True))
