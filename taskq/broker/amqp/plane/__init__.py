"""The channels of a connection, below aio-pika.

Theory of operation. aio-pika owns the connection: TLS, authentication, heartbeats, closing. It reads from
a byte stream, and that stream is split before it gets there: frames of channels that are ours are parsed here, in bulk
as they arrive; all others are passed on untouched. Both sides write whole frames into the same transport, from the
loop's thread, so that they never mix.

Without I/O, bytes in and events out: :mod:`~taskq.broker.amqp.plane.splitter` (bytes to frames),
:mod:`~taskq.broker.amqp.plane.channel` (frames to events), :mod:`~taskq.broker.amqp.plane.commands` (commands to
bytes), :mod:`~taskq.broker.amqp.plane.properties` and :mod:`~taskq.broker.amqp.plane.tables` (messages to bytes and
back), :mod:`~taskq.broker.amqp.plane.acks` and :mod:`~taskq.broker.amqp.plane.confirms` (which tags are open).
With I/O, and thin: :mod:`~taskq.broker.amqp.plane.transport`, :mod:`~taskq.broker.amqp.plane.hotchannel`.
"""
