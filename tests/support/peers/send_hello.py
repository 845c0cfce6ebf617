"""Hello world, the sender: ``URL [TEXT]``. Its queue is not durable."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="hello")
text = sys.argv[2] if len(sys.argv) > 2 else "Hello World!"
channel.basic_publish(exchange="", routing_key="hello", body=text)
print("sent", text)
connection.close()
