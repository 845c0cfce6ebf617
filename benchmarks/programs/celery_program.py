"""Celery on RabbitMQ: durable classic queue, `confirm_publish`, `acks_late`; results in Redis, where wanted."""

import os

import producing
from celery import Celery
from tally import count

results = os.environ["BENCH_REDIS"] if os.environ.get("BENCH_RESULTS") else None
app = Celery("celery_program", broker=os.environ["BENCH_AMQP"].replace("amqp://", "pyamqp://"), backend=results)
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=64,
    task_acks_late=True,
    task_ignore_result=results is None,
    worker_prefetch_multiplier=int(os.environ.get("BENCH_MULTIPLIER", "1")),
    worker_hijack_root_logger=False,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)


@app.task
def add(a, b):
    return count(a, b)


if __name__ == "__main__":
    producing.run_threads(
        enqueue=lambda number: add.delay(number, 1), call=lambda number: add.delay(number, 1).get(timeout=30)
    )
