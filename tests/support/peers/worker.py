"""Work queues, who works: ``URL``. One message at a time, a moment for each dot, acknowledged by hand when done."""

import sys
import time

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare(queue="task_queue", durable=True)


def work(channel, method, properties, body):
    print("got", body.decode(), flush=True)
    time.sleep(body.count(b".") / 20)
    print("done", flush=True)
    channel.basic_ack(delivery_tag=method.delivery_tag)


channel.basic_qos(prefetch_count=1)
channel.basic_consume(queue="task_queue", on_message_callback=work)
print("waiting", flush=True)
channel.start_consuming()
