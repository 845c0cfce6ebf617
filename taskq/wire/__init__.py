"""WHAT travels: messages, jobs, replies and dead letters, between bytes and frozen models. No I/O.

The format is version 1, documented in ``docs/reference/wire.md`` and readable by any AMQP client.
"""
