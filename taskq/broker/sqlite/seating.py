"""The operations that open and close consumers and inboxes, and end a broker."""

from __future__ import annotations

from taskq.broker.sqlite.batch import Batch
from taskq.broker.sqlite.household import Household
from taskq.broker.sqlite.operation import Operation
from taskq.broker.sqlite.seat import Seat
from taskq.errors import Unroutable


class Sit(Operation[None]):
    """Open a seat. Raises :class:`Unroutable` when its queue does not exist."""

    def __init__(self, household: Household, seat: Seat) -> None:
        self._household = household
        self._seat = seat

    def run(self, batch: Batch) -> None:
        if not self._seat.sit(batch, self._household.row):
            raise Unroutable(self._seat.name)

    def committed(self, result: None) -> None:
        self._household.add(self._seat)


class StandUp(Operation[None]):
    """Close a seat; what it holds goes back."""

    patient = True

    def __init__(self, household: Household, seat: Seat) -> None:
        self._household = household
        self._seat = seat

    def run(self, batch: Batch) -> None:
        self._seat.stand_up(batch)

    def committed(self, result: None) -> None:
        self._household.discard(self._seat)


class MoveOut(Operation[None]):
    """Take leave of the database; the last operation of an engine."""

    patient = True

    def __init__(self, household: Household) -> None:
        self._household = household

    def run(self, batch: Batch) -> None:
        self._household.move_out(batch)

    def committed(self, result: None) -> None:
        self._household.moved_out()
