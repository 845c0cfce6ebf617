"""Remote procedure calls, the server: ``URL``. Fibonacci numbers, text in and text out."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="rpc_queue")


def fib(n):
    before, number = 0, 1
    for _ in range(n):
        before, number = number, before + number
    return before


def answer(channel, method, properties, body):
    n = int(body)
    print("fib", n, flush=True)
    channel.basic_publish(
        exchange="",
        routing_key=properties.reply_to,
        properties=pika.BasicProperties(correlation_id=properties.correlation_id),
        body=str(fib(n)),
    )
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="rpc_queue", on_message_callback=answer)
print("waiting", flush=True)
channel.start_consuming()
