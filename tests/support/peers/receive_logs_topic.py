"""Topics, who listens: ``URL KEY…``. Prints what comes for these patterns."""

import sys

import pika

url, *keys = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
queue = channel.queue_declare(queue="", exclusive=True).method.queue
for key in keys:
    channel.queue_bind(exchange="topic_logs", queue=queue, routing_key=key)


def show(channel, method, properties, body):
    print(method.routing_key, body.decode(), flush=True)


channel.basic_consume(queue=queue, on_message_callback=show, auto_ack=True)
print("waiting", flush=True)
channel.start_consuming()
