"""Hello world, the receiver: ``URL``. Prints what comes."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="hello")


def show(channel, method, properties, body):
    print("got", body.decode(), flush=True)


channel.basic_consume(queue="hello", on_message_callback=show, auto_ack=True)
print("waiting", flush=True)
channel.start_consuming()
