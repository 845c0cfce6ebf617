"""Publishes to a queue that somebody else has made: ``URL QUEUE BODY [PROPERTIES]``, the last as a JSON object."""

import json
import sys

import pika

url, queue, body, *more = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
channel.queue_declare(queue=queue, passive=True)
properties = pika.BasicProperties(**json.loads(more[0] if more else '{"delivery_mode": 2}'))
channel.confirm_delivery()
channel.basic_publish("", queue, body, properties, mandatory=True)
connection.close()
