"""The tests' RabbitMQ does what it is told, its log is read rightly, and nothing of it is left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aio_pika
import pytest
from aio_pika.abc import AbstractChannel

from tests.support import rabbit
from tests.support.rabbit import NoRabbitMQ, RabbitNode, SharedRabbit
from tests.support.rabbit.fixtures import administered
from tests.support.rabbit.problems import problems
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]


async def publish(channel: AbstractChannel, queue: str, body: bytes) -> None:
    message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
    await channel.default_exchange.publish(message, queue)


async def test_a_confirmed_message_outlives_a_killed_node(own_node: RabbitNode) -> None:
    async with await aio_pika.connect(own_node.url()) as connection:
        channel = await connection.channel()
        for kind in ("quorum", "classic"):
            await channel.declare_queue(kind, durable=True, arguments={"x-queue-type": kind})
            await publish(channel, kind, kind.encode())
        own_node.write_down()
        own_node.kill()
        assert not own_node.running
    await asyncio.to_thread(own_node.start)
    async with await aio_pika.connect(own_node.url()) as connection:
        channel = await connection.channel()
        for kind in ("quorum", "classic"):
            queue = await channel.get_queue(kind)
            assert (await queue.get(timeout=20)).body == kind.encode()


async def test_a_paused_node_answers_nobody_until_it_is_resumed(own_node: RabbitNode) -> None:
    own_node.pause()
    assert own_node.running
    with pytest.raises(TimeoutError):
        await aio_pika.connect(own_node.url(), timeout=0.3)
    own_node.resume()
    await (await aio_pika.connect(own_node.url())).close()


@pytest.mark.parametrize("resource", ["disk", "memory"])
async def test_an_alarm_keeps_publishes_waiting_until_it_is_over(own_node: RabbitNode, resource: str) -> None:
    alarm = own_node.alarm_disk if resource == "disk" else own_node.alarm_memory
    async with await aio_pika.connect(own_node.url()) as connection:
        channel = await connection.channel()
        queue = await channel.declare_queue("q", durable=True)
        alarm(True)
        publishing = asyncio.create_task(publish(channel, "q", b"late"))
        done, _ = await asyncio.wait({publishing}, timeout=0.3)
        assert not done
        alarm(False)
        await asyncio.wait_for(publishing, 10)
        assert (await queue.get()).body == b"late"


@pytest.mark.parametrize("version", rabbit.versions(), ids=rabbit.label)
def test_a_node_of_ones_own_is_handed_on_empty(version: str) -> None:
    with rabbit.own_node(version) as node:
        node.new_vhost()
        node.alarm_disk(True)
        node.pause()
    with rabbit.own_node(version) as again:
        assert again is node
        assert node.eval("rabbit_vhost:list_names()") == '[<<"/">>]'
        assert node.eval("rabbit_alarm:get_alarms()") == "[]"
    with rabbit.own_node(version) as again:
        again.kill()
    assert not again.running


@administered
async def test_virtual_hosts_are_apart_and_go_with_all_that_is_in_them(shared_rabbit: SharedRabbit) -> None:
    one, other = shared_rabbit.new_vhost(), shared_rabbit.new_vhost()
    for url in (one, other):
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            declared = await channel.declare_queue("q", durable=True, arguments={"x-queue-type": "quorum"})
            assert declared.declaration_result.message_count == 0
            await publish(channel, "q", b"1")
    for url in (one, other):
        shared_rabbit.drop_vhost(url)
        assert shared_rabbit.node is not None
        assert url.rpartition("/")[2] not in shared_rabbit.node.eval("rabbit_vhost:list_names()")


CONFTEST = "from tests.support.rabbit.fixtures import amqp_url, shared_rabbit"
COMPLAINED = """
import aio_pika, pytest
from tests.support.rabbit.fixtures import administered

pytestmark = administered

async def provoke(url):
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("no such queue", passive=True)

async def test_sudden(amqp_url):
    await provoke(amqp_url)

@pytest.mark.broker_problems("another")
async def test_other(amqp_url):
    await provoke(amqp_url)

@pytest.mark.broker_problems("another", "not_found.* 'no such queue'")
async def test_announced(amqp_url):
    await provoke(amqp_url)

@pytest.mark.broker_problems
async def test_any(amqp_url):
    await provoke(amqp_url)

async def test_clean(amqp_url):
    await (await aio_pika.connect(amqp_url)).close()
"""


@administered
@pytest.mark.broker_problems("no such queue")
def test_a_test_that_the_broker_complains_about_fails_unless_it_says_so(
    pytester: pytest.Pytester, shared_rabbit: SharedRabbit, request: pytest.FixtureRequest
) -> None:
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(COMPLAINED)
    options = [
        "-o",
        "asyncio_default_fixture_loop_scope=function",
        "-o",
        "markers=broker_problems",
        "-p",
        "no:cacheprovider",
    ]
    version = request.node.callspec.params["shared_rabbit"]
    result = pytester.runpytest_inprocess("--asyncio-mode=auto", *options, "-k", f"[{rabbit.label(version)}]")
    result.assert_outcomes(passed=5, errors=2)
    result.stdout.fnmatch_lines(["*made the broker complain*", "*not_found: no queue 'no such queue'*"])


GONE = """\
2026-01-01 00:00:00.1+00:00 [warning] <0.1.0> closing AMQP connection <0.1.0> (127.0.0.1:1 -> 127.0.0.1:2):
2026-01-01 00:00:00.1+00:00 [warning] <0.1.0> client unexpectedly closed TCP connection
2026-01-01 00:00:00.2+00:00 [error] <0.2.0> a queue is slow
2026-01-01 00:00:00.3+00:00 [info] <0.3.0> closing AMQP connection <0.3.0> (127.0.0.1:1 -> 127.0.0.1:2)
"""
BROKEN = """\
2026-01-01 00:00:00.1+00:00 [error] <0.1.0> closing AMQP connection <0.1.0> (127.0.0.1:1 -> 127.0.0.1:2):
2026-01-01 00:00:00.1+00:00 [error] <0.1.0> {handshake_timeout,frame_header}
2026-01-01 00:00:00.1+00:00 [error] <0.2.0> Channel error on connection <0.1.0>, channel 1:
2026-01-01 00:00:00.1+00:00 [error] <0.2.0> operation basic.ack caused a channel exception precondition_failed
2026-01-01 00:00:00.2+00:00 [error] <0.4.0> closing AMQP connection <0.4.0> (127.0.0.1:1 -> 127.0.0.1:2):
2026-01-01 00:00:00.2+00:00 [error] <0.4.0> missed heartbeats from client, timeout: 10s
"""


def test_clients_that_go_away_are_no_problem_and_those_that_break_the_protocol_are() -> None:
    assert problems(GONE) == []
    assert [entry.splitlines()[-1] for entry in problems(GONE + BROKEN)] == [
        "{handshake_timeout,frame_header}",
        "operation basic.ack caused a channel exception precondition_failed",
        "missed heartbeats from client, timeout: 10s",
    ]


@pytest.mark.parametrize("make", [RabbitNode, rabbit.shared])
def test_a_missing_rabbitmq_is_said_with_the_command_to_run(make: type[RabbitNode], tmp_path: Path) -> None:
    with pytest.raises(NoRabbitMQ, match=f"run `bash .ci/rabbitmq4 {tmp_path}` as root"):
        make(str(tmp_path))


OWNER = """
import sys
from tests.support.rabbit import RabbitNode

node = RabbitNode(sys.argv[1])
print(node.name, node.folder, flush=True)
node.start()
sys.stdin.read()
"""


@pytest.fixture(params=rabbit.versions(), ids=rabbit.label)
def owner(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A process that starts a node."""
    command = [sys.executable, "-c", OWNER, request.param]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.kill()


async def test_nothing_is_left_of_a_node_whose_owner_was_killed(owner: subprocess.Popen[str]) -> None:
    assert owner.stdout is not None
    name, folder = (await asyncio.to_thread(owner.stdout.readline)).split()
    await eventually(lambda: len(processes_of(name)) >= 4, "epmd, a script, Erlang and its child are there")
    assert Path(folder).exists()
    owner.send_signal(signal.SIGKILL)
    await eventually(lambda: not processes_of(name), "they are gone", detail=lambda: processes_of(name))
    await eventually(lambda: not Path(folder).exists(), "its folder is gone")


def processes_of(node: str) -> list[str]:
    """The processes that have the name of a node in their environment."""
    return [pid for pid in os.listdir("/proc") if pid.isdigit() and node in environment(pid)]


def environment(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace")
    except OSError:
        return ""
