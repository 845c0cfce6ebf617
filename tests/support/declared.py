"""Functions to be declared as tasks elsewhere, with types that the declaring module does not know by these names."""

from __future__ import annotations

from pydantic import BaseModel


class State(BaseModel):
    count: int


def with_state_of_its_own(state: State) -> None: ...
