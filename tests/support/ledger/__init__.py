"""A ledger of what producers, workers and callers saw, and a checker that compares it with what taskq promises.

``records`` is what is written down, ``pen`` writes it so that it survives a SIGKILL, ``history`` reads a folder of
ledgers back, ``check`` compares, ``report`` says what was found. It knows no broker: the final state comes in as a
value.
"""

from tests.support.ledger.check import check
from tests.support.ledger.history import BrokenLedger, History, read_history
from tests.support.ledger.pen import Pen
from tests.support.ledger.records import (
    Answered,
    Confirmed,
    Dead,
    Ended,
    Expired,
    Fault,
    FinalState,
    GivenBack,
    Left,
    Outcome,
    Record,
    Refused,
    Started,
    Unanswered,
    Wanted,
)
from tests.support.ledger.report import Finding, Kind, Report

__all__ = [
    "Answered",
    "BrokenLedger",
    "Confirmed",
    "Dead",
    "Ended",
    "Expired",
    "Fault",
    "FinalState",
    "Finding",
    "GivenBack",
    "History",
    "Kind",
    "Left",
    "Outcome",
    "Pen",
    "Record",
    "Refused",
    "Report",
    "Started",
    "Unanswered",
    "Wanted",
    "check",
    "read_history",
]
