"""Hello world, work queues and remote procedure calls of `workers/`: real workers, and `taskq send` as their client."""

import asyncio
import json
import signal
from itertools import chain
from pathlib import Path

import pytest

from tests.support.commandline import Running
from tests.support.rabbit import RabbitNode
from tests.support.stage import environment
from tests.support.system import System, done, inside, notes, until_done
from tests.support.waiting import eventually
from workers import hello, rpc, work_queue

HELLO = "workers.hello:app"
WORK = "workers.work_queue:app"
RPC = "workers.rpc:app"
MINUTE = 60 * "."  # so long does a message with it take: a test ends before that
ENDLESS = 40  # its Fibonacci number takes as long


def message(text: str) -> str:
    return json.dumps({"message": text})


def got(worker: Running) -> list[str]:
    """The messages that a worker of the work queue has begun."""
    return [note.removeprefix("got ").strip("'") for note in notes(worker)]


def until_begun(workers: list[Running], text: str) -> tuple[Running, Running]:
    """Wait until one of two workers has begun a message; return it, and then the other."""
    begun = workers[0].until(lambda: [worker for worker in workers if text in got(worker)], f"{text} has begun")
    return begun[0], workers[1 - workers.index(begun[0])]


def until_started(servers: list[Running]) -> tuple[Running, Running]:
    """Wait until one of two servers that log all has begun a call; return it, and then the other."""
    begun = servers[0].until(lambda: [each for each in servers if each.events("JobStarted")], "a call has begun")
    return begun[0], servers[1 - servers.index(begun[0])]


# Hello world.


def test_each_of_two_idle_receivers_gets_its_share_of_the_greetings(system: System, broker_url: str | None) -> None:
    receivers = system.workers((HELLO,), (HELLO,))
    said = system.run("send", HELLO, "hello", '{"name": "Ada"}', "--wait")
    assert (said.status, said.out, said.err) == (0, '"Hello, Ada!"\n', "")
    names = ["Ada"]

    async def greet() -> None:
        while min(len(done(each)) for each in receivers) < 5 and len(names) < 300:
            names.append(f"{len(names)}")
            await hello.hello.call(names[-1])
            await eventually(lambda: sum(len(done(each)) for each in receivers) == len(names), "both are idle again")

    inside(hello.app, greet)
    fewer, more = sorted(len(done(each)) for each in receivers)
    assert fewer == 5, "one idle receiver got nearly all of them"
    assert sorted(chain(*map(notes, receivers))) == sorted(f"Hello, {name}!" for name in names)
    if broker_url is not None:  # RabbitMQ takes turns; of the readers of a file, the first to look gets it
        assert more - fewer <= 2


def test_a_greeting_waits_while_no_receiver_runs(system: System) -> None:
    sent = system.run("send", HELLO, "hello", '{"name": "Grace"}')
    assert (sent.status, sent.err.count("\n")) == (0, 1)
    assert sent.err == "taskq: no worker consumes the queue 'hello' at the moment; the job waits there for one\n"
    (receiver,) = system.workers((HELLO,))
    until_done([receiver], 1)
    assert (done(receiver), notes(receiver)) == ([sent.out.strip()], ["Hello, Grace!"])


# Work queues.


def test_a_worker_with_a_long_job_gets_no_other_while_one_is_free(system: System) -> None:
    workers = system.workers((WORK,), (WORK,))
    long, short = "long" + MINUTE, [f"short {number}" for number in range(5)]
    inside(work_queue.app, lambda: work_queue.app.enqueue_many(work_queue.work.bind(text) for text in [long, *short]))
    until_done(workers, len(short))
    busy, free = until_begun(workers, long)
    assert (got(busy), got(free)) == ([long], short)


def test_the_job_of_a_killed_worker_is_done_by_the_other(system: System) -> None:
    workers = system.workers((WORK,), (WORK,))
    job = inside(work_queue.app, lambda: work_queue.work.enqueue("two seconds .."))
    killed, other = until_begun(workers, "two seconds ..")
    killed.send(signal.SIGKILL)
    assert killed.ended() == -signal.SIGKILL
    until_done([other], 1)
    assert (done(killed), done(other), got(other)) == ([], [job.id], ["two seconds .."])


def test_jobs_outlive_a_restart_of_rabbitmq(own_node: RabbitNode, tmp_path: Path) -> None:
    with System(tmp_path, environment(tmp_path, own_node.url())) as system:
        sent = [system.run("send", WORK, "work", message(text)).out.strip() for text in ("one", "two")]
        own_node.stop()
        own_node.start()
        (worker,) = system.workers((WORK,))
        until_done([worker], 2)
        assert (done(worker), got(worker)) == (sent, ["one", "two"])


@pytest.mark.one_broker
def test_jobs_in_a_file_outlive_the_end_of_all_processes(system: System) -> None:
    long = "long" + MINUTE
    sent = [system.run("send", WORK, "work", message(text)).out.strip() for text in (long, "short")]
    (first,) = system.workers((WORK,))
    first.until(lambda: got(first) == [long], "it has begun")
    first.send(signal.SIGKILL)
    first.ended()
    (second,) = system.workers((WORK, "--concurrency", "2"))
    until_done([second], 1)
    assert (done(second), got(second)) == (sent[1:], [long, "short"])


# Remote procedure calls.


def test_several_servers_share_the_calls_of_a_client(system: System) -> None:
    servers = system.workers((RPC,), (RPC,))
    said = system.run("send", RPC, "fib", '{"n": 30}', "--wait")
    assert (said.status, said.out, said.err) == (0, "832040\n", "")

    async def call() -> list[int]:
        return await asyncio.gather(*(rpc.fib.call(number) for number in range(20)))

    assert inside(rpc.app, call)[-3:] == [1597, 2584, 4181]
    until_done(servers, 21)
    assert len(set(chain(*map(done, servers)))) == 21
    assert all(done(server) for server in servers), "one server did all the calls"


def test_a_call_is_served_by_the_free_server_while_the_other_is_slow(system: System) -> None:
    servers = system.workers((RPC, "--log-level", "debug"), (RPC, "--log-level", "debug"))
    slow = system.start("send", RPC, "fib", json.dumps({"n": ENDLESS}), "--wait")
    busy, free = until_started(servers)
    assert system.run("send", RPC, "fib", '{"n": 10}', "--wait").out == "55\n"
    until_done([free], 1)
    assert (slow.runs, done(busy)) == (True, [])


def test_a_client_gets_its_result_although_the_server_is_killed_in_the_middle(system: System) -> None:
    servers = system.workers((RPC, "--log-level", "debug"), (RPC, "--log-level", "debug"))
    client = system.start("send", RPC, "fib", '{"n": 30}', "--wait")
    killed, other = until_started(servers)
    killed.send(signal.SIGKILL)
    assert client.ended() == 0
    assert client.log == "832040\n"
    until_done([other], 1)
    assert done(killed) == []


def test_a_call_that_nobody_serves_fails_in_its_time(system: System) -> None:
    said = system.run("send", RPC, "fib", '{"n": 3}', "--wait", "--timeout", "0.3")
    assert (said.status, said.out) == (1, "")
    no_worker, no_result = said.err.splitlines()
    assert no_worker.startswith("taskq: no worker consumes the queue 'rpc_queue'")
    assert no_result.startswith("taskq: fib: no result within 0.3 s [job ")
