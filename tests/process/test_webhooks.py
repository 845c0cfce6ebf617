"""Webhooks: a real worker of `workers.webhooks`, and a receiver that answers as real ones do."""

from __future__ import annotations

import asyncio
import hmac
import json
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from taskq import ResultJob, TaskFailed
from tests.support.receiver import OK, Answer, Receiver
from tests.support.stage import environment
from tests.support.waiting import eventually
from tests.support.workers import ROOT, WorkerProcess, Workers
from workers.webhooks import READ_BYTES, app, deliver

ORDER = {"order": 7, "name": "Zoë"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """A receiver, and the worker that delivers to it."""

    receiver: Receiver
    worker: WorkerProcess

    async def send(self, path: str) -> ResultJob[int]:
        return await deliver.submit(self.receiver.url(path), ORDER)  # type: ignore[arg-type]  # text is a URL, too

    async def until_got(self, path: str, times: int) -> None:
        def got() -> bool:
            return len(self.receiver.got(path)) >= times

        await eventually(got, f"{path} was asked {times} times", detail=lambda: self.worker.output)

    async def until_retried(self, job: ResultJob[int]) -> None:
        def retried() -> bool:
            return any(event["job_id"] == job.id for event in self.worker.events("JobRetried"))

        await eventually(retried, f"{job.id} is retried", detail=lambda: self.worker.output)


@asynccontextmanager
async def delivering(folder: Path, variables: dict[str, str], *arguments: str) -> AsyncIterator[Hooks]:
    """Start a worker beside a receiver; a proxy is never asked for 127.0.0.1."""
    receiver = Receiver()
    workers = Workers(folder, {**variables, "NO_PROXY": "*"}, program="workers.webhooks:app")
    try:
        async with receiver.listening(), app:
            yield Hooks(receiver=receiver, worker=await workers.start(*arguments))
    finally:
        workers.close()


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker_url: str | None) -> dict[str, str]:
    made = environment(tmp_path, broker_url)
    for name, value in made.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
async def hooks(tmp_path: Path, variables: dict[str, str]) -> AsyncIterator[Hooks]:
    async with delivering(tmp_path, variables, "--concurrency", "20") as opened:
        yield opened


@pytest.fixture
async def hasty(tmp_path: Path, variables: dict[str, str]) -> AsyncIterator[Hooks]:
    """The same with a time limit of a second."""
    async with delivering(tmp_path, variables | {"WEBHOOKS_TIMEOUT": "1"}, "--concurrency", "20") as opened:
        yield opened


async def test_a_delivery_arrives_once_and_an_unsuccessful_one_comes_again_under_its_key(hooks: Hooks) -> None:
    hooks.receiver.answers["/busy"] = [Answer(status=503), OK]
    good, busy = await hooks.send("/hook"), await hooks.send("/busy")
    assert (await good.result(), await busy.result()) == (200, 200)
    (request,) = hooks.receiver.got("/hook")
    assert request.body == '{"order":7,"name":"Zoë"}'.encode()
    assert request.headers["content-type"] == "application/json"
    assert (request.key, request.headers["webhook-attempt"]) == (good.id, "1")
    assert "webhook-signature" not in request.headers
    assert [(each.key, each.headers["webhook-attempt"]) for each in hooks.receiver.got("/busy")] == [
        (busy.id, "1"),
        (busy.id, "2"),
    ]


@pytest.mark.one_broker
async def test_retry_after_is_honoured_in_seconds_and_comes_before_the_growing_pause(hooks: Hooks) -> None:
    hooks.receiver.answers["/hook"] = [Answer(status=429, headers={"Retry-After": "1"}), OK]
    job = await hooks.send("/hook")
    assert await job.result() == 200
    first, second = hooks.receiver.got("/hook")
    assert 1.0 <= second.at - first.at < 5.0  # a second, up to one more, and a loaded machine
    assert first.key == second.key == job.id
    (retried,) = hooks.worker.events("JobRetried")
    assert 1.0 <= retried["wait_s"] <= 2.0
    assert retried["error"] == f"taskq.Retry: HTTP 429 from 127.0.0.1:{hooks.receiver.port}"


@pytest.mark.one_broker
async def test_errors_of_the_server_are_tried_again_in_growing_pauses(hooks: Hooks) -> None:
    hooks.receiver.answers["/hook"] = [Answer(status=500), Answer(status=502), OK]
    job = await hooks.send("/hook")
    assert await job.result() == 200
    assert [each.headers["webhook-attempt"] for each in hooks.receiver.got("/hook")] == ["1", "2", "3"]
    assert {each.key for each in hooks.receiver.got("/hook")} == {job.id}
    one, two = hooks.worker.events("JobRetried")
    assert one["wait_s"] <= 1.0
    assert two["wait_s"] <= 3.0


@pytest.mark.one_broker
@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (Answer(status=404), ""),
        (Answer(status=410), ""),
        (Answer(status=307, headers={"Location": "/elsewhere"}), "; redirects are not followed"),
    ],
    ids=["not-found", "gone", "redirect"],
)
async def test_what_no_retry_can_help_is_a_dead_letter_at_once(hooks: Hooks, answer: Answer, more: str) -> None:
    hooks.receiver.answers["/hook"] = [answer]
    job = await hooks.send("/hook?token=s3cret")
    with pytest.raises(TaskFailed, match=f"rejected.*HTTP {answer.status}"):
        await job.result()
    assert len(hooks.receiver.requests) == 1
    (letter,) = await app.dead_letters.list("webhooks")
    assert (letter.job_id, letter.reason, letter.attempt) == (job.id, "rejected", 1)
    assert letter.failure.message == f"HTTP {answer.status} from 127.0.0.1:{hooks.receiver.port}{more}"
    assert json.loads(letter.message.body)["url"].endswith("?token=s3cret")


@pytest.mark.one_broker
async def test_logs_never_show_more_of_a_url_than_host_and_port(tmp_path: Path, variables: dict[str, str]) -> None:
    async with delivering(tmp_path, variables, "--log-level", "debug") as hooks:
        hooks.receiver.answers |= {"/path-s3cret": [Answer(status=503), OK], "/away": [Answer(status=400)]}
        away, good = await hooks.send("/away?token=s3cret"), await hooks.send("/path-s3cret?token=s3cret")
        with pytest.raises(TaskFailed) as failed:
            await away.result()
        assert await good.result() == 200
        await eventually(lambda: hooks.worker.events("JobSucceeded"), "it is logged")
        assert "s3cret" not in hooks.worker.output
        assert "s3cret" not in str(failed.value) + failed.value.remote_traceback
        assert hooks.worker.stray_output() == []


@pytest.mark.one_broker
async def test_a_receiver_that_is_away_gets_its_delivery_once_when_it_is_back(hooks: Hooks) -> None:
    back = Receiver()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    job = await deliver.submit(f"http://127.0.0.1:{port}/hook", ORDER)  # type: ignore[arg-type]
    await hooks.until_retried(job)
    refused = hooks.worker.events("JobRetried")[0]["error"]
    assert refused.startswith(f"taskq.Retry: no answer from 127.0.0.1:{port}: ConnectError")
    async with back.listening(port):
        assert await job.result() == 200
    assert [each.key for each in back.got("/hook")] == [job.id]


@pytest.mark.one_broker
async def test_a_receiver_that_hangs_or_drips_its_head_is_cut_and_asked_again(hasty: Hooks) -> None:
    hasty.receiver.answers |= {"/hangs": [Answer(never=True), OK], "/drips": [Answer(sent=20), OK]}
    jobs = {path: await hasty.send(path) for path in ("/hangs", "/drips")}
    for path, job in jobs.items():
        assert await job.result() == 200
        assert len(hasty.receiver.got(path)) >= 2
        assert {each.key for each in hasty.receiver.got(path)} == {job.id}
    texts = {event["error"] for event in hasty.worker.events("JobRetried")}
    assert texts == {f"taskq.Retry: no answer from 127.0.0.1:{hasty.receiver.port} within 1 s"}


@pytest.mark.one_broker
async def test_a_status_counts_whatever_becomes_of_the_rest_of_the_answer(hasty: Hooks) -> None:
    dripping, large = Answer(body=b"x" * 1000, sent=60), Answer(body=b"x" * 10 * READ_BYTES)
    cut = Answer(body=b"", headers={"Content-Length": "5"})
    cut_redirect = Answer(status=302, headers={"Content-Length": "9"}, body=b"")
    hasty.receiver.answers |= {"/drips": [dripping], "/large": [large], "/cut": [cut], "/away": [cut_redirect]}
    jobs = {path: await hasty.send(path) for path in ("/drips", "/large", "/cut")}
    for path, job in jobs.items():
        assert await job.result() == 200, path
        assert len(hasty.receiver.got(path)) == 1, path
    with pytest.raises(TaskFailed, match="HTTP 302"):
        await (await hasty.send("/away")).result()


@pytest.mark.one_broker
async def test_deliveries_of_one_worker_share_connections_and_no_cookies(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    async with delivering(tmp_path, variables, "--concurrency", "1") as hooks:
        hooks.receiver.answers["/hook"] = [Answer(headers={"Set-Cookie": "session=7; Path=/"}, body=b"fine")]
        for _ in range(3):
            assert await (await hooks.send("/hook")).result() == 200
        assert {each.connection for each in hooks.receiver.got("/hook")} == {0}
        assert not any("cookie" in each.headers for each in hooks.receiver.requests)


@pytest.mark.one_broker
async def test_the_concurrency_of_the_worker_is_what_bounds_deliveries(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    number = 120  # more than the pool of httpx holds unless it is told
    async with delivering(tmp_path, variables, "--concurrency", str(number)) as hooks:
        gate = asyncio.Event()
        hooks.receiver.answers["/hook"] = [Answer(gate=gate)]
        jobs = await asyncio.gather(*(hooks.send("/hook") for _ in range(number)))
        await hooks.until_got("/hook", number)
        gate.set()
        assert set(await asyncio.gather(*(job.result() for job in jobs))) == {200}
        assert len(hooks.receiver.requests) == number


@pytest.mark.one_broker
async def test_a_secret_signs_the_bytes_of_the_body(tmp_path: Path, variables: dict[str, str]) -> None:
    async with delivering(tmp_path, variables | {"WEBHOOKS_SECRET": "gehéim"}) as hooks:
        assert await (await hooks.send("/hook")).result() == 200
        (request,) = hooks.receiver.requests
        signature = hmac.digest("gehéim".encode(), request.body, "sha256").hex()
        assert request.headers["webhook-signature"] == f"sha256={signature}"


@pytest.mark.one_broker
async def test_a_setting_that_does_not_fit_ends_the_worker_without_showing_the_secret(
    tmp_path: Path, variables: dict[str, str]
) -> None:
    wrong = {"WEBHOOKS_TIMEOUT": "soon", "WEBHOOKS_SECRET": "s3cret"}
    workers = Workers(tmp_path, variables | wrong, program="workers.webhooks:app")
    try:
        worker = workers.launch()
        assert await worker.ended() != 0
        assert "timeout" in worker.output
        assert "s3cret" not in worker.output
    finally:
        workers.close()


@pytest.mark.one_broker
async def test_the_command_line_waits_for_the_status(hooks: Hooks) -> None:
    hooks.receiver.answers["/hook"] = [Answer(status=204, body=b"")]
    arguments = json.dumps({"url": hooks.receiver.url("/hook"), "body": ORDER})
    sent = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskq", "send", "workers.webhooks:app", "deliver", arguments, "--wait"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaints = await sent.communicate()
    assert (sent.returncode, out.strip()) == (0, b"204"), complaints
