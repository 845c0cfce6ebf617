"""Publish and subscribe, who publishes: ``URL TEXT…``, to everybody who listens now."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.exchange_declare(exchange="logs", exchange_type="fanout")
for text in sys.argv[2:]:
    channel.basic_publish(exchange="logs", routing_key="", body=text)
connection.close()
