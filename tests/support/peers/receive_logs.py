"""Publish and subscribe, who listens: ``URL``, by a queue that is only its own."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.exchange_declare(exchange="logs", exchange_type="fanout")
queue = channel.queue_declare(queue="", exclusive=True).method.queue
channel.queue_bind(exchange="logs", queue=queue)


def show(channel, method, properties, body):
    print("got", body.decode(), flush=True)


channel.basic_consume(queue=queue, on_message_callback=show, auto_ack=True)
print("waiting", flush=True)
channel.start_consuming()
