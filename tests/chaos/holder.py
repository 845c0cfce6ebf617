"""A foreign program that holds a database: run as a script with the file, and `reader` or `writer`.

It says "holds" when it does, and lets go when its standard input ends, or when it is killed.
"""

from __future__ import annotations

import sqlite3
import sys

_BEGIN = {"reader": ("BEGIN", "SELECT count(*) FROM message"), "writer": ("BEGIN EXCLUSIVE",)}
_WAIT_S = 30.0


def main(path: str, kind: str) -> None:
    """Hold it until the input ends."""
    database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
    for statement in _BEGIN[kind]:
        database.execute(statement).fetchall()
    print("holds", flush=True)
    sys.stdin.read()
    database.execute("ROLLBACK")
    database.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
