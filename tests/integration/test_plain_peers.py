"""Programs that know nothing of taskq, on the other side of each system of RabbitMQ's tutorials, in both directions.

They are those of `tests/support/peers`, run as processes, and Debian's `amqp-tools`; workers are real ones where a
tutorial has several of them. Nothing here says anything about taskq to the other side.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pika
import pytest

from taskq import Event, Exchange, Fixed, Queue, ResultTimeout, RetryPolicy, TaskQ, UndecodableMessage, Unroutable
from taskq.tasks.exchanges import ExchangeKind
from taskq.worker.worker import Worker
from tests.support.foreign import NoAmqpTools, Peers
from tests.support.peershop import RECORD, recorded
from tests.support.waiting import eventually
from tests.support.workers import ROOT, Workers

pytestmark = pytest.mark.broker_problems("not_found")  # how RabbitMQ is asked whether something exists

FIB_30 = 832_040


@pytest.fixture
def peers(amqp_url: str, tmp_path: Path) -> Iterator[Peers]:
    made = Peers(amqp_url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def workers(amqp_url: str, tmp_path: Path) -> Iterator[Callable[[str], Workers]]:
    """Makes the worker processes of a program."""
    made: list[Workers] = []

    def of(program: str) -> Workers:
        folder = tmp_path / f"workers-{len(made)}"
        folder.mkdir()
        environment = {"TASKQ_URL": amqp_url, "TASKQ_LOG_FORMAT": "json", RECORD: str(tmp_path / "record")}
        made.append(Workers(folder, environment, program=program))
        return made[-1]

    yield of
    for each in made:
        each.close()


@asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[None]:
    task = asyncio.create_task(worker.run())
    try:
        await worker.started.wait()
        yield
    finally:
        worker.stop("the test is over")
        await task


async def until_ran(tmp_path: Path, *wanted: list[object]) -> None:
    """Wait until worker processes have written down these executions, in any order, and no others."""

    def there() -> bool:
        return sorted(recorded(tmp_path / "record"), key=str) == sorted(wanted, key=str)

    await eventually(there, f"{wanted} ran", detail=lambda: recorded(tmp_path / "record"))


# Hello world, work queues: they send


async def test_hello_world_runs_on_a_queue_that_they_made_before_and_after(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path
) -> None:
    await peers.run("send_hello")
    await workers("tests.support.peershop:app").start()
    await until_ran(tmp_path, ["hello", "Hello World!", 1])
    await peers.run("send_hello", "again")
    await until_ran(tmp_path, ["hello", "Hello World!", 1], ["hello", "again", 1])


async def test_hello_world_runs_on_a_queue_that_we_made_before_they_declare_it(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path
) -> None:
    await workers("tests.support.peershop:app").start()
    await peers.run("send_hello")
    await until_ran(tmp_path, ["hello", "Hello World!", 1])


@pytest.mark.parametrize("first", ["they", "we"])
async def test_work_of_theirs_is_shared_by_workers_of_ours_whoever_declares_first(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path, first: str
) -> None:
    group = workers("tests.support.peershop:app")
    messages = [f"job {n}" + "." * (n % 3) for n in range(12)]
    if first == "they":
        await peers.run("new_task", *messages)
    one, two = group.launch(), group.launch()
    for each in (one, two):
        await each.consuming()
    if first == "we":
        await peers.run("new_task", *messages)
    await until_ran(tmp_path, *(["work", message, 1] for message in messages))


async def test_work_of_theirs_goes_to_another_worker_when_the_first_is_killed(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path
) -> None:
    group = workers("tests.support.peershop:app")
    first = await group.start()
    await peers.run("new_task", "never")
    await until_ran(tmp_path, ["work", "never", 1])
    first.close()
    await group.start()
    await until_ran(tmp_path, ["work", "never", 1], ["work", "never", 1])


async def test_work_of_theirs_that_failed_is_tried_again_as_the_text_that_it_was(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path
) -> None:
    await workers("tests.support.peershop:app").start()
    await peers.run("new_task", "fail once", "30")
    await until_ran(tmp_path, ["work", "fail once", 1], ["work", "fail once", 2], ["work", "30", 1])


async def test_work_of_theirs_that_died_runs_when_the_command_puts_it_back(
    peers: Peers, workers: Callable[[str], Workers], tmp_path: Path
) -> None:
    group = workers("tests.support.peershop:app")
    await group.start()
    await peers.run("new_task", "bad luck")
    await until_ran(tmp_path, ["work", "bad luck", 1], ["work", "bad luck", 2])
    await eventually(lambda: group.all[0].events("JobDead"), "it is dead")
    listed = await taskq(peers.url, "dead", "list", "tests.support.peershop:app", "task_queue", "--json")
    assert [each["reason"] for each in json.loads(listed)] == ["failed"]
    (tmp_path / "record.mended").touch()
    await taskq(peers.url, "dead", "retry", "tests.support.peershop:app", "task_queue", "--all")
    await until_ran(tmp_path, ["work", "bad luck", 1], ["work", "bad luck", 2], ["work", "bad luck", 1])
    assert await taskq(peers.url, "dead", "list", "tests.support.peershop:app", "task_queue", "--json") == "[]\n"


async def taskq(url: str, *arguments: str) -> str:
    """Run a command of taskq and return what it wrote."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "taskq", *arguments),
        cwd=ROOT,
        env={**os.environ, "TASKQ_URL": url},
        stdout=asyncio.subprocess.PIPE,
    )
    wrote, _ = await process.communicate()
    assert process.returncode == 0, arguments
    return wrote.decode()


@pytest.mark.parametrize("described", [{"arguments": {"x-message-ttl": 60_000}}, {"declare": False}], ids=["as", "not"])
async def test_a_queue_with_arguments_of_theirs_is_described_with_them_or_not_declared(
    amqp_url: str, peers: Peers, described: dict[str, Any]
) -> None:
    app = TaskQ("shop", url=amqp_url)
    ran: list[str] = []

    @app.task(queue="theirs", retry=RetryPolicy(attempts=2, backoff=Fixed(0.01)))
    async def note(text: str) -> None:
        ran.append(text)
        raise ValueError(text)

    app.add_queue(Queue("theirs", type="classic", default=note, **described))
    await asyncio.to_thread(declare, amqp_url, "theirs", {"x-message-ttl": 60_000})
    async with app, running(app.worker()):
        await peers.post("theirs", "Hello")
        await eventually(lambda: app.dead_letters.list("theirs"), "it is a dead letter")
    assert ran == ["Hello", "Hello"]


def declare(url: str, queue: str, arguments: dict[str, Any]) -> None:
    """Make a queue as a plain program does."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    connection.channel().queue_declare(queue, durable=True, arguments=arguments)
    connection.close()


BODIES = [
    ("Hello World!", ("Hello World!", 1)),
    ('{"text": "by name", "times": 3}', ("by name", 3)),
    ('{"text": "a default"}', ("a default", 1)),
    ('"a JSON text"', ("a JSON text", 1)),
    ("true", ("true", 1)),
    ("3.5", ("3.5", 1)),
    ("grüße", ("grüße", 1)),
]


@pytest.mark.parametrize("queue", [Queue("texts"), Queue("texts", type="classic")], ids=["quorum", "classic"])
async def test_texts_objects_and_scalars_run_on_a_queue_of_ours(amqp_url: str, peers: Peers, queue: Queue) -> None:
    app = TaskQ("shop", url=amqp_url)
    ran: list[tuple[str, int]] = []

    @app.task(queue="texts")
    async def named(text: str, times: int = 1) -> None:
        ran.append((text, times))

    @app.task(queue="words")
    async def word(text: str) -> None:
        ran.append((text, 1))

    app.add_queue(Queue("texts", type=queue.type, default=named))
    app.add_queue(Queue("words", type=queue.type, default=word))
    async with app, running(app.worker()):
        for body, expected in BODIES:
            to = "texts" if body.startswith("{") else "words"
            for send in (
                peers.post(to, body, delivery_mode=2, content_type="application/json"),
                peers.run_tool("amqp-publish", f"--routing-key={to}", "--persistent", f"--body={body}"),
            ):
                await send
                await eventually(lambda: ran, f"{body} ran")
                assert ran == [expected]
                ran.clear()


# Hello world, work queues: they receive


async def test_their_workers_share_the_jobs_and_the_bare_values_that_we_send(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("job", queue="task_queue")
    def job(message: str, times: int = 1) -> None:
        raise NotImplementedError

    @app.remote("bare", queue="task_queue", foreign=True)
    def bare(message: str) -> None:
        raise NotImplementedError

    there = [await peers.waiting("worker") for _ in range(2)]
    async with app:
        await job.enqueue("...", times=2)
        await bare.enqueue("..")
        await bare.enqueue("no dots")
    wanted = ['got "no dots"', 'got ".."', 'got {"message":"...","times":2}']

    def printed() -> list[str]:
        return [line for peer in there for line in peer.printed]

    await eventually(lambda: printed().count("done") == 3, "they did all of it", detail=printed)
    assert sorted(line for line in printed() if line.startswith("got")) == sorted(wanted)
    assert all("done" in peer.printed for peer in there), "one of them did nothing"


async def test_a_job_of_ours_goes_to_another_worker_of_theirs_when_the_first_is_killed(
    amqp_url: str, peers: Peers
) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("bare", queue="task_queue", foreign=True)
    def bare(message: str) -> None:
        raise NotImplementedError

    first = await peers.waiting("worker")
    async with app:
        await bare.enqueue("." * 600)  # half a minute
        await bare.enqueue("quick")
    await first.prints('got "' + "." * 600 + '"')
    second = await peers.waiting("worker")
    await second.prints('got "quick"', "done")
    first.kill()
    await second.prints('got "' + "." * 600 + '"')


@pytest.mark.parametrize("first", ["they", "we"])
async def test_hello_world_of_ours_is_received_on_their_queue(amqp_url: str, peers: Peers, first: str) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.task(queue="hello")
    async def hello(name: str) -> None: ...

    app.add_queue(Queue("hello", type="classic", durable=False, arguments={}))
    receiver = await peers.waiting("receive_hello") if first == "they" else None
    async with app:
        await hello.enqueue("Ada")
    receiver = receiver or await peers.waiting("receive_hello")
    await receiver.prints('got {"name":"Ada"}')


async def test_the_command_line_clients_take_jobs_of_ours(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.task(queue="images")
    async def resize(url: str, width: int = 200) -> None: ...

    async with app:
        for url in ("cat.png", "dog.png"):
            await resize.enqueue(url)
        assert await peers.run_tool("amqp-get", "--queue=images") == ['{"url":"cat.png"}']
        assert await peers.run_tool("amqp-consume", "--queue=images", "--count=1", "cat") == ['{"url":"dog.png"}']
        (state,) = [each for each in await app.queues() if each.name == "images"]
        assert state.ready == 0


def test_a_missing_command_line_client_is_named_with_what_to_run(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoAmqpTools, match=r"amqp-get is missing: run `bash \.ci/rabbitmq` as root"):
        peers.start_tool("amqp-get")


# Remote procedure calls: they call


async def test_their_calls_are_answered_with_bare_values_under_their_own_numbers(
    peers: Peers, workers: Callable[[str], Workers]
) -> None:
    await workers("workers.rpc:app").start("--concurrency", "2")
    answers = await peers.run("rpc_client", "30", "5", '{"n": 10}')
    assert answers == [
        f"1 result application/json {FIB_30}",
        "2 result application/json 5",
        "3 result application/json 55",
    ]
    assert await peers.run("rpc_client_direct", "30") == [f"1 result {FIB_30}"]


async def test_their_calls_that_fail_are_answered_with_the_error(
    peers: Peers, workers: Callable[[str], Workers]
) -> None:
    await workers("workers.rpc:app").start()
    answers = await peers.run("rpc_client", "thirty", "41", '{"m": 1}')
    errors = [json.loads(line.removeprefix(f"{n} error application/json ")) for n, line in enumerate(answers, 1)]
    assert [error["type"] for error in errors] == ["taskq.InvalidArguments"] * 3
    assert all(set(error) == {"type", "message", "traceback"} for error in errors)
    assert "unable to parse string as an integer" in errors[0]["message"]
    assert "less than or equal to 40" in errors[1]["message"]
    (direct,) = await peers.run("rpc_client_direct", "thirty")
    assert direct.startswith('1 error {"type": "taskq.InvalidArguments"')


@pytest.mark.parametrize("client", ["rpc_client", "rpc_client_direct"])
async def test_a_caller_of_theirs_that_is_gone_costs_nothing(
    amqp_url: str, peers: Peers, workers: Callable[[str], Workers], client: str
) -> None:
    app = TaskQ("rpc", url=amqp_url)

    @app.task(queue="rpc_queue")  # the worker, who comes later, has its own
    async def fib(n: int) -> int:
        raise NotImplementedError

    async def waiting() -> int:
        return sum(state.ready for state in await app.queues(["rpc_queue"]) if state.name == "rpc_queue")

    async with app:
        gone = peers.start(client, "20")
        await eventually(waiting, "the call is there")
        gone.kill()
    worker = await workers("workers.rpc:app").start()
    assert await peers.run("rpc_client", "30") == [f"1 result application/json {FIB_30}"]
    assert [event["queue"] for event in worker.events("JobSucceeded")] == ["rpc_queue"] * 2
    assert worker.events("SettleFailed") == []


# Remote procedure calls: they answer


async def test_their_server_answers_ours_with_text_that_is_the_number(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("fib", queue="rpc_queue", foreign=True)
    def fib(n: int) -> int:
        raise NotImplementedError

    async with app:
        with pytest.raises(Unroutable):
            await fib.call(30)
        await peers.waiting("rpc_server")
        assert await fib.call(30) == FIB_30
        assert await asyncio.gather(*(fib.call(n) for n in range(20))) == [fibonacci(n) for n in range(20)]


def fibonacci(n: int) -> int:
    before, number = 0, 1
    for _ in range(n):
        before, number = number, before + number
    return before


async def test_their_server_answers_with_text_and_with_our_own_properties(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("shout", queue="shout_queue", foreign=True)
    def shout(text: str) -> str:
        raise NotImplementedError

    @app.remote("count", queue="shout_queue", foreign=True)
    def count(text: str) -> int:
        raise NotImplementedError

    await peers.waiting("text_server")
    async with app:
        assert await shout.call("fine") == '"fine", yes!'
        with pytest.raises(UndecodableMessage, match="count: the result does not fit the return type"):
            await count.call("fine")


async def test_their_server_that_dies_and_comes_back_answers_what_waited(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("fib", queue="rpc_queue", foreign=True)
    def fib(n: int) -> int:
        raise NotImplementedError

    first = await peers.waiting("rpc_server")
    async with app:
        assert await fib.call(10) == 55
        first.kill()
        jobs = [await fib.submit(n) for n in (20, 30)]
        await peers.waiting("rpc_server")
        assert [await job.result() for job in jobs] == [6765, FIB_30]


async def test_a_server_of_theirs_that_never_answers_ends_in_a_timeout(amqp_url: str, peers: Peers) -> None:
    app = TaskQ("shop", url=amqp_url)

    @app.remote("work", queue="task_queue", foreign=True)
    def work(message: str) -> str:
        raise NotImplementedError

    silent = await peers.waiting("worker")
    async with app:
        with pytest.raises(ResultTimeout):
            await work.with_options(reply_timeout=0.5).call("say something")
    await silent.prints('got "say something"', "done")


# Publish and subscribe, routing, topics


class Tutorial(NamedTuple):
    """An exchange of the tutorials, and how its programs are called. ``shown``: what its listeners print first."""

    kind: ExchangeKind
    exchange: str
    emit: str
    receive: str
    keys: tuple[str, ...]
    key: str
    shown: str


FANOUT = Tutorial("fanout", "logs", "emit_log", "receive_logs", (), "", "got")
DIRECT = Tutorial("direct", "direct_logs", "emit_log_direct", "receive_logs_direct", ("error",), "error", "error")
TOPIC = Tutorial(
    "topic", "topic_logs", "emit_log_topic", "receive_logs_topic", ("kern.*",), "kern.critical", "kern.critical"
)
tutorials = pytest.mark.parametrize("tutorial", [FANOUT, DIRECT, TOPIC], ids=lambda tutorial: tutorial.kind)
either_first = pytest.mark.parametrize("first", ["they", "we"])


def logs_of(app: TaskQ[Any], tutorial: Tutorial) -> Exchange[str]:
    """Declare the exchange as the programs of the tutorial do."""
    return app.exchange(tutorial.exchange, kind=tutorial.kind, payload=str, durable=False)


@tutorials
@either_first
async def test_what_they_emit_is_listened_to_and_subscribed_to(
    amqp_url: str, peers: Peers, tutorial: Tutorial, first: str
) -> None:
    app: TaskQ[Any] = TaskQ("logs", url=amqp_url)
    logs = logs_of(app, tutorial)
    got: list[str] = []
    kept: list[tuple[str, str, str]] = []

    @logs.subscribe(*tutorial.keys)
    async def each(line: str) -> None:
        got.append(line)

    @logs.subscribe(*tutorial.keys, queue="kept")
    async def keep(line: str, event: Event[str]) -> None:
        kept.append((line, event.exchange, event.key))

    key = (tutorial.key,) if tutorial.key else ()
    if first == "they":
        await peers.run(tutorial.emit, *key, "nobody listens yet")
    async with app, running(app.worker()), logs.listen(*tutorial.keys) as events:
        if key:
            await peers.run(tutorial.emit, "other", "info: not for us")
        await peers.run(tutorial.emit, *key, "info: Hello")
        event = await asyncio.wait_for(anext(events), 20)
        assert (event.payload, event.exchange, event.key) == ("info: Hello", tutorial.exchange, tutorial.key)
        await eventually(lambda: got and kept, "both subscriptions ran")
    assert got == ["info: Hello"]
    assert kept == [("info: Hello", tutorial.exchange, tutorial.key)]


@tutorials
@either_first
async def test_what_we_publish_is_received_by_their_listeners(
    amqp_url: str, peers: Peers, tutorial: Tutorial, first: str
) -> None:
    app: TaskQ[Any] = TaskQ("logs", url=amqp_url)
    logs = logs_of(app, tutorial)
    there = [await peers.waiting(tutorial.receive, *tutorial.keys)] if first == "they" else []
    async with app:
        there.append(await peers.waiting(tutorial.receive, *tutorial.keys))
        if tutorial.key:
            await logs.publish("not for them", key="other")
        await logs.publish("Hello", key=tutorial.key)
        for each in there:
            await each.prints(f'{tutorial.shown} "Hello"')
            assert len(each.printed) == 2


async def test_the_command_line_clients_publish_events_and_receive_them(amqp_url: str, peers: Peers) -> None:
    app: TaskQ[Any] = TaskQ("logs", url=amqp_url)
    logs = logs_of(app, TOPIC)
    async with app:
        async with logs.listen("#") as events:
            to = ("--exchange=topic_logs", "--routing-key=kern.info")
            await peers.run_tool("amqp-publish", *to, "--header=host: db1", "--body=up")
            event = await asyncio.wait_for(anext(events), 20)
        assert (event.payload, event.key, event.headers) == ("up", "kern.info", {"host": "db1"})
        of = ("--exchange=topic_logs", "--routing-key=kern.*", "--exclusive", "--count=1")
        taker = peers.start_tool("amqp-consume", *of, "cat")
        await eventually(lambda: is_taken(logs, "down"), "it has bound its queue")
        assert (await taker.ended())[-1] == '"down"'  # before it, the name of its queue


async def is_taken(logs: Exchange[str], line: str) -> bool:
    """Publish, and say whether anybody takes it."""
    try:
        await logs.publish(line, key="kern.critical", mandatory=True)
    except Unroutable:
        return False
    return True
