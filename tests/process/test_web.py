"""A web application as the producer: the app is open for its lifespan, in a real server process."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from signal import SIGTERM

import httpx
import pytest

from tests.support.stage import Stage, environment
from tests.support.waiting import eventually
from tests.support.workers import ROOT

pytestmark = pytest.mark.one_broker


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
async def server(stage: Stage) -> AsyncIterator[tuple[subprocess.Popen[bytes], httpx.AsyncClient]]:
    """A real uvicorn process, and a client for it."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.support.web:web", "--port", str(port), "--log-level", "warning"]
    log = stage.folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment(stage.folder)},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:

            async def answers() -> bool:
                assert process.poll() is None, log.read_text()
                with suppress(httpx.TransportError):
                    return (await client.get("/alive")).status_code == 200
                return False

            await eventually(answers, "the server answers", within_s=30, detail=log.read_text)
            yield process, client
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


Server = tuple[subprocess.Popen[bytes], httpx.AsyncClient]


async def test_requests_enqueue_and_call_while_the_app_is_open_for_the_lifespan(stage: Stage, server: Server) -> None:
    process, client = server
    await stage.workers.start("--queue", "work", "--queue", "calls=4")
    enqueued = await client.post("/jobs")
    assert enqueued.status_code == 202, enqueued.text
    await stage.until(lambda: enqueued.json()["job"] in stage.returned(), "the job has run")
    for number in (1, 2, 3):
        called = await client.get(f"/echo/{number}")
        assert called.status_code == 200, called.text
        assert called.json()["number"] == number
        assert called.json()["job"] in stage.returned()
    process.send_signal(SIGTERM)
    await eventually(lambda: process.poll() is not None, "the server stops", within_s=10)
    assert "Traceback" not in (stage.folder / "server.log").read_text()
