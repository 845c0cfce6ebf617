"""Work queues, who gives work: ``URL MESSAGE…``. The queue is durable, the messages are persistent."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="task_queue", durable=True)
for message in sys.argv[2:]:
    channel.basic_publish(
        exchange="",
        routing_key="task_queue",
        body=message,
        properties=pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent),
    )
    print("sent", message)
connection.close()
