"""Each process test gets a stage of its own: see `tests/support/stage.py`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.stage import Stage, environment, staged


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    variables = environment(tmp_path)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with staged(tmp_path, variables) as opened:
        yield opened
