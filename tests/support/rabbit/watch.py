"""Ends process groups, and removes a folder, when its standard input ends: when its owner does, however that went.

Run as a script by `process`. Its argument is the folder; a line `+123` hands it a process group, `-123` takes it back.
It ends nothing else, and says nothing.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time


def main(folder: str) -> None:
    """Watch until the owner is gone."""
    groups: set[int] = set()
    for line in sys.stdin:
        (groups.add if line.startswith("+") else groups.discard)(int(line[1:]))
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for _ in range(20):  # what dies may still write
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.1)


if __name__ == "__main__":
    main(sys.argv[1])
