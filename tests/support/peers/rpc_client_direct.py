"""A remote procedure call with the reply sent directly to the caller's channel, without any queue: ``URL BODY``."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()


def show(channel, method, properties, body):
    print(properties.correlation_id, properties.type, body.decode())
    channel.close()


channel.basic_consume(queue="amq.rabbitmq.reply-to", on_message_callback=show, auto_ack=True)
channel.basic_publish(
    exchange="",
    routing_key="rpc_queue",
    properties=pika.BasicProperties(reply_to="amq.rabbitmq.reply-to", correlation_id="1"),
    body=sys.argv[2],
)
channel.start_consuming()
connection.close()
