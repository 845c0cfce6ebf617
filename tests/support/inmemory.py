"""An app on the broker in memory, chosen by the environment as a user does it."""

from typing import Any

import pytest

from taskq import TaskQ


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_URL", "memory://")


def shop() -> tuple[TaskQ[Any], Any]:
    app: TaskQ[Any] = TaskQ("shop")

    @app.task
    async def double(n: int) -> int:
        return 2 * n

    return app, double
