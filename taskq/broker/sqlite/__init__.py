"""The embedded broker: one SQLite file for any number of processes on one machine, or memory inside one process."""

from taskq.broker.sqlite.broker import SqliteBroker

__all__ = ["SqliteBroker"]
