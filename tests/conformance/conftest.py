"""Each test runs on each broker; ``lasting`` only on those whose messages outlive a process, ``embedded`` on ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.stand import EMBEDDED, LASTING, STANDS, Stand


@pytest.fixture(params=list(STANDS))
async def stand(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = STANDS[request.param](tmp_path)
    yield stand
    await stand.close()


@pytest.fixture(params=list(EMBEDDED))
async def embedded(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = EMBEDDED[request.param](tmp_path)
    yield stand
    await stand.close()


@pytest.fixture(params=list(LASTING))
async def lasting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stand]:
    stand = LASTING[request.param](tmp_path)
    yield stand
    await stand.close()
