"""Where a RabbitMQ is: the machine's own package, or the one in a chroot that `.ci/rabbitmq4` made.

It knows how to run a program of that RabbitMQ and what its paths are called inside; it starts nothing itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

SYSTEM = "system"

_SCRIPTS = Path("usr/lib/rabbitmq/bin")
_CHROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class NoRabbitMQ(Exception):
    """The RabbitMQ that the tests are to run on is not there; says what to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A RabbitMQ that can be run. ``root``: the chroot, or ``/``."""

    root: Path

    @classmethod
    def find(cls, version: str) -> Installation:
        """Return the one that ``version`` names: ``system``, or the folder of a chroot."""
        if version == SYSTEM:
            root, command = Path("/"), "bash .ci/rabbitmq` as root, or install the package rabbitmq-server"
        else:
            root, command = Path(version).resolve(), f"bash .ci/rabbitmq4 {version}` as root"
        if version != SYSTEM and os.geteuid() != 0:
            raise NoRabbitMQ(f"the RabbitMQ in {version} runs in a chroot: run these tests as root")
        if not (root / _SCRIPTS / "rabbitmq-server").exists():
            raise NoRabbitMQ(f"there is no RabbitMQ {version!r} for the tests: run `{command}")
        return cls(root)

    @property
    def is_chroot(self) -> bool:
        return self.root != Path("/")

    @property
    def path(self) -> str:
        """The search path for programs."""
        return _CHROOT_PATH if self.is_chroot else os.environ["PATH"]

    def new_folder(self) -> Path:
        """Make a folder that can be seen from inside."""
        return Path(tempfile.mkdtemp(prefix="taskq-rabbitmq-", dir=self.root / "tmp" if self.is_chroot else None))

    def inside(self, path: Path) -> str:
        """Return what ``path`` is called inside."""
        return f"/{path.relative_to(self.root)}" if self.is_chroot else str(path)

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return how to run a program: a script of RabbitMQ, or one of Erlang on the search path."""
        script = _SCRIPTS / program
        inside = f"/{script}" if (self.root / script).exists() else program
        if not self.is_chroot:
            found = shutil.which(inside)
            if found is None:
                raise NoRabbitMQ(f"{program} is missing; it comes with Erlang, on which RabbitMQ runs")
            return [found, *arguments]
        return ["chroot", str(self.root), inside, *arguments]
