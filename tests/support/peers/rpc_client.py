"""Remote procedure calls, the client: ``URL BODY…``. Replies come to an exclusive queue; calls are numbered from 1."""

import sys

import pika

url, *bodies = sys.argv[1:]
connection = pika.BlockingConnection(pika.URLParameters(url))
channel = connection.channel()
replies = channel.queue_declare(queue="", exclusive=True).method.queue
answers = {}


def remember(channel, method, properties, body):
    answers[properties.correlation_id] = (properties.type, properties.content_type, body.decode())


channel.basic_consume(queue=replies, on_message_callback=remember, auto_ack=True)
for number, body in enumerate(bodies, 1):
    channel.basic_publish(
        exchange="",
        routing_key="rpc_queue",
        properties=pika.BasicProperties(reply_to=replies, correlation_id=str(number)),
        body=body,
    )
while len(answers) < len(bodies):
    connection.process_data_events(time_limit=None)
for number, answer in sorted(answers.items()):
    print(number, *answer)
connection.close()
