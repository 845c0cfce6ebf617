"""Dramatiq on RabbitMQ: durable classic queue, `confirm_delivery`, acknowledged after the actor; results in Redis."""

import logging
import os

import dramatiq
import producing
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from tally import count

logging.disable(logging.INFO)  # its command has no option for it; some tell of each job

results = bool(os.environ.get("BENCH_RESULTS"))
broker = RabbitmqBroker(url=os.environ["BENCH_AMQP"], confirm_delivery=True)
if results:
    broker.add_middleware(Results(backend=RedisBackend(url=os.environ["BENCH_REDIS"])))
dramatiq.set_broker(broker)


@dramatiq.actor(**({"store_results": True} if results else {}))
def add(a, b):
    return count(a, b)


if __name__ == "__main__":
    producing.run_threads(
        enqueue=lambda number: add.send(number, 1),
        call=lambda number: add.send(number, 1).get_result(block=True, timeout=30_000),
    )
