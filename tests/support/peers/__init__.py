"""Programs that know nothing of taskq: plain `pika`, as the tutorials of RabbitMQ teach it.

Each is run as a process, with the URL as its first argument, by :mod:`tests.support.foreign`. None imports anything of
this repository.
"""
