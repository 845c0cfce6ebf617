"""Routing, who publishes: ``URL SEVERITY TEXT``."""

import sys

import pika

url, key, text = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.exchange_declare(exchange="direct_logs", exchange_type="direct")
channel.basic_publish(exchange="direct_logs", routing_key=key, body=text)
connection.close()
