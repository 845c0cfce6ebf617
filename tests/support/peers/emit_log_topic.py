"""Topics, who publishes: ``URL KEY TEXT``."""

import sys

import pika

url, key, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare(exchange="topic_logs", exchange_type="topic")
channel.basic_publish(exchange="topic_logs", routing_key=key, body=text)
connection.close()
