"""Each process test gets a stage of its own, on each broker: see `tests/support/stage.py`."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import rabbit
from tests.support.rabbit.fixtures import fail_on, own_node
from tests.support.stage import Stage, environment, staged
from tests.support.system import System

__all__ = ["own_node"]

SQLITE = "sqlite"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on each broker; where it does not matter, on a file alone."""
    if "broker_url" in metafunc.fixturenames:
        alone = metafunc.definition.get_closest_marker("one_broker") is not None
        labels = {SQLITE: SQLITE} | ({} if alone else {name: rabbit.label(name) for name in rabbit.brokers()})
        metafunc.parametrize("broker_url", list(labels), ids=labels.values(), indirect=True)


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """The URL of an empty broker; ``None`` for a file in the stage's folder."""
    if request.param == SQLITE:
        yield None
        return
    shared = rabbit.shared(request.param)
    since = shared.log_position()
    url = shared.new_vhost()
    yield url
    shared.drop_vhost(url)
    # RabbitMQ is asked whether a queue exists by an operation that fails when it does not.
    fail_on([each for each in shared.problems_since(since) if "not_found" not in each], request.node)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str | None) -> AsyncIterator[Stage]:
    variables = environment(tmp_path, broker_url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with staged(tmp_path, variables) as opened:
        yield opened


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str | None) -> Iterator[System]:
    variables = environment(tmp_path, broker_url)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with System(tmp_path, variables) as opened:
        yield opened
