"""The servers of a run, started when a contender first needs them, and ended with the run.

A *place* is an empty room on them: a virtual host, an empty Redis, a new file, a new database.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from benchmarks.contender import Contender, Store
from benchmarks.postgres_server import Postgres
from benchmarks.redis_server import Redis
from benchmarks.server import NoServer
from tests.support import rabbit
from tests.support.rabbit import NoRabbitMQ, RabbitNode


class Servers:
    """A context manager that ends what it has started."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._rabbit: RabbitNode | None = None
        self._redis: Redis | None = None
        self._postgres: Postgres | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def rabbit(self) -> RabbitNode:
        if self._rabbit is None:
            try:
                self._rabbit = self._stack.enter_context(RabbitNode(rabbit.versions()[0]))
            except NoRabbitMQ as error:
                raise NoServer(str(error)) from None
        return self._rabbit

    @property
    def redis(self) -> Redis:
        if self._redis is None:
            self._redis = self._stack.enter_context(Redis())
        return self._redis

    @property
    def postgres(self) -> Postgres:
        if self._postgres is None:
            self._postgres = self._stack.enter_context(Postgres())
        return self._postgres

    @contextmanager
    def place(self, contender: Contender) -> Iterator[dict[str, str]]:
        """Have an empty place for the contender's jobs, as environment variables that name it."""
        with ExitStack() as stack:
            named = self._store(contender.store, stack)
            if contender.needs_redis:
                named |= self._store(Store.REDIS, stack)
            yield named

    def _store(self, store: Store, stack: ExitStack) -> dict[str, str]:
        match store:
            case Store.RABBITMQ:
                vhost = self.rabbit.new_vhost("bench-")
                stack.callback(self.rabbit.drop_vhost, vhost)
                return {"BENCH_AMQP": self.rabbit.url(vhost), "TASKQ_URL": self.rabbit.url(vhost)}
            case Store.REDIS:
                self.redis.empty()
                return {"BENCH_REDIS": self.redis.url}
            case Store.SQLITE:
                file = f"{stack.enter_context(TemporaryDirectory(prefix='taskq-bench-'))}/bench.db"
                return {"BENCH_SQLITE": file, "TASKQ_URL": f"sqlite:///{file}"}
            case Store.POSTGRESQL:
                database = self.postgres.new_database()
                stack.callback(self.postgres.drop_database, database)
                url = self.postgres.url(database)
                return {"BENCH_POSTGRES": url, "PGDSN": url}
