"""Reading ledgers back. The last line of a ledger may be torn, when its process was killed while it wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.support.ledger.pen import SUFFIX
from tests.support.ledger.records import Record, from_line

R = TypeVar("R")


class BrokenLedger(Exception):
    """A line that is not the last one of its ledger cannot be read: nothing that is said about it can be trusted."""


@dataclass(frozen=True, slots=True)
class History:
    """All records of a run, in no particular order. ``torn`` names the ledgers whose last line was cut off."""

    records: tuple[Record, ...]
    torn: tuple[str, ...] = ()

    def of(self, kind: type[R]) -> list[R]:
        """Return the records of one kind, the earliest first."""
        found = [record for record in self.records if isinstance(record, kind)]
        return sorted(found, key=lambda record: record.at)  # type: ignore[attr-defined]


def read_history(folder: Path, *, pid: int | None = None) -> History:
    """Read every ledger in ``folder``, or those of one process; they may still write. Raises :class:`BrokenLedger`."""
    records: list[Record] = []
    torn: list[str] = []
    for path in sorted(folder.glob(f"{'*' if pid is None else pid}-*{SUFFIX}")):
        *lines, rest = path.read_bytes().split(b"\n")
        records += _parsed(path, lines)
        if rest:
            torn.append(path.name)
    return History(tuple(records), tuple(torn))


def _parsed(path: Path, lines: list[bytes]) -> list[Record]:
    try:
        return [from_line(line) for line in lines]
    except ValueError as error:
        raise BrokenLedger(f"{path.name}: {error}") from error
