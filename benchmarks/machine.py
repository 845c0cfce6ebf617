"""Which machine, which versions, and which command: what stands beside every figure."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.postgres_server import postgres_program
from benchmarks.server import NoServer
from benchmarks.servers import Servers


def described(command: str, servers: Servers) -> dict[str, str]:
    """Return what a reader needs to judge the figures."""
    return {
        "CPU": f"{_cpu()}, {os.cpu_count()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "RabbitMQ": servers.rabbit.eval("rabbit_misc:version()").strip('"'),
        "Redis": _said("redis-server", "--version").partition("v=")[2].partition(" ")[0] or "–",
        "PostgreSQL": _postgres(),
        "date": time.strftime("%Y-%m-%d"),
        "command": command,
    }


def _postgres() -> str:
    try:
        return _said(postgres_program("postgres"), "--version").partition(") ")[2].partition(" ")[0]
    except NoServer:
        return "–"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _said(program: str, *arguments: str) -> str:
    found = shutil.which(program)
    if found is None:
        return ""
    return subprocess.run([found, *arguments], capture_output=True, text=True, check=False).stdout.strip()
