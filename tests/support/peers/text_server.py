"""A server that answers plain text: ``URL``. It gives the caller all of its own properties back."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="shout_queue")


def answer(channel, method, properties, body):
    text = f"{body.decode()}, yes!"
    channel.basic_publish(exchange="", routing_key=properties.reply_to, properties=properties, body=text)
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_consume(queue="shout_queue", on_message_callback=answer)
print("waiting", flush=True)
channel.start_consuming()
