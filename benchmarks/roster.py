"""All contenders, in the order of the tables, each with its best settings that keep a job through a crash."""

from __future__ import annotations

from benchmarks.contender import Contender, Role, Store

_UVLOOP = "uvloop==0.23.0"
_CONFIRMED = "confirmed, persistent; acknowledged after the task"
_QUORUM = f"quorum queue: flushed to the disk; {_CONFIRMED}"
_CLASSIC = f"classic queue: confirmed when written; {_CONFIRMED}"
_AOF = "append-only file, flushed each second: a power cut takes up to a second of jobs"

_TASKQ = ("taskq", "worker", "taskq_program:app", "--concurrency", "{concurrency}", "--log-level", "warning")
_CELERY = ("celery", "-A", "celery_program", "worker", "--without-gossip", "--without-mingle", "--loglevel=WARNING")
_BARE = ("python", "bare.py", "work")
_AIO_PIKA = ("python", "aio_pika_program.py", "work")

ROSTER = (
    Contender(
        name="taskq",
        title="taskq, quorum queue",
        store=Store.RABBITMQ,
        role=Role.OURS,
        program="taskq_program",
        worker=_TASKQ,
        settings={"BENCH_QUEUE_TYPE": "quorum"},
        guarantee=_QUORUM,
    ),
    Contender(
        name="taskq-classic",
        title="taskq, classic queue",
        store=Store.RABBITMQ,
        role=Role.OURS,
        program="taskq_program",
        worker=_TASKQ,
        settings={"BENCH_QUEUE_TYPE": "classic"},
        guarantee=_CLASSIC,
    ),
    Contender(
        name="taskiq",
        title="taskiq, taskiq-aio-pika",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="taskiq_program",
        requirements=("taskiq==0.13.0", "taskiq-aio-pika==0.6.1", "taskiq-redis==1.2.4", _UVLOOP),
        worker=(
            *("taskiq", "worker", "taskiq_program:broker", "--workers", "1", "--max-async-tasks", "{concurrency}"),
            *("--ack-type", "when_executed", "--log-level", "WARNING"),
        ),
        needs_redis=True,
        guarantee=f"{_QUORUM}; results in Redis",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="faststream",
        title="FastStream",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="faststream_program",
        requirements=("faststream[rabbit,cli]==0.7.8", _UVLOOP),
        worker=("faststream", "run", "faststream_program:app", "--log-level", "warning"),
        guarantee=f"{_CLASSIC}; no retries of its own",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="celery",
        title="Celery, pool solo",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="celery_program",
        requirements=("celery[redis]==5.7.0",),
        worker=(*_CELERY, "--pool=solo"),
        settings={"BENCH_MULTIPLIER": "{concurrency}"},
        needs_redis=True,
        guarantee=f"{_CLASSIC} (`confirm_publish`, `acks_late`); results in Redis",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="celery-threads",
        title="Celery, pool threads",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="celery_program",
        requirements=("celery[redis]==5.7.0",),
        worker=(*_CELERY, "--pool=threads", "--concurrency={threads}"),
        threads=8,
        settings={"BENCH_MULTIPLIER": "{concurrency}"},
        needs_redis=True,
        guarantee=f"{_CLASSIC} (`confirm_publish`, `acks_late`); results in Redis",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="celery-prefork",
        title="Celery, pool prefork, 2 processes",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="celery_program",
        requirements=("celery[redis]==5.7.0",),
        worker=(*_CELERY, "--pool=prefork", "--concurrency={threads}"),
        threads=2,
        settings={"BENCH_MULTIPLIER": "{concurrency}"},
        needs_redis=True,
        guarantee=f"{_CLASSIC} (`confirm_publish`, `acks_late`); results in Redis",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="dramatiq",
        title="Dramatiq",
        store=Store.RABBITMQ,
        role=Role.PEER,
        program="dramatiq_program",
        requirements=("dramatiq[rabbitmq,redis]==2.2.1",),
        worker=("dramatiq", "dramatiq_program", "--processes", "1", "--threads", "{threads}"),
        threads=8,
        settings={"dramatiq_queue_prefetch": "{concurrency}"},
        needs_redis=True,
        guarantee=f"{_CLASSIC} (`confirm_delivery`); results in Redis",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="aio-pika",
        title="bare aio-pika, quorum queue",
        store=Store.RABBITMQ,
        role=Role.LIMIT,
        program="aio_pika_program",
        requirements=("aio-pika==10.2.1", _UVLOOP),
        worker=_AIO_PIKA,
        settings={"BENCH_QUEUE_TYPE": "quorum"},
        guarantee=f"{_QUORUM}; no validation, no retries, replies not persistent",
        lacks=frozenset({"bulk"}),
    ),
    Contender(
        name="limit",
        title="the bare limit, quorum queue",
        store=Store.RABBITMQ,
        role=Role.LIMIT,
        program="bare",
        requirements=(_UVLOOP,),
        worker=_BARE,
        settings={"BENCH_QUEUE_TYPE": "quorum"},
        guarantee="quorum queue, confirmed, acknowledged after the task; replies not persistent; heals nothing",
    ),
    Contender(
        name="limit-classic",
        title="the bare limit, classic queue",
        store=Store.RABBITMQ,
        role=Role.LIMIT,
        program="bare",
        requirements=(_UVLOOP,),
        worker=_BARE,
        settings={"BENCH_QUEUE_TYPE": "classic"},
        guarantee="classic queue, confirmed, acknowledged after the task; replies not persistent; heals nothing",
    ),
)
