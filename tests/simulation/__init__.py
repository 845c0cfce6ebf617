"""A simulated machine on which workers, producers and the embedded broker run, while everything that can fail does.

What runs is taskq itself: the app, the client, the worker's pipeline, the embedded broker and SQLite on a real file.
What is simulated is what is around it: time, the event loops and threads of several processes, their datagrams, their
signals and their deaths, and what SQLite says of the disk. All of it is drawn from one number, the seed, so that a
seed is one history that can be told again, byte for byte.

How to run it, and see a failure again::

    python -m tests.simulation --seeds 1..3000               # all cores; prints each seed that fails
    python -m tests.simulation --seeds 1734 --trace          # one seed, with every callback of every process

The way of a seed: producers and workers start on one file; each takes what it does from the seed (tasks that return,
fail, are retried, snoozed, rejected, time out, are delayed, expire or call each other; callers with deadlines;
priorities; a queue with a low delivery limit). Meanwhile faults strike: each seed has some kinds of them and a number
of callbacks between two, so that they come between any two awaits. Then all is healed, the queues have to become empty,
everybody is told to stop and has to end, and the ledger of ``tests/support/ledger`` is checked with what only a
simulation can see: who held which message when, whether each wait ended in time, and what is left in the database.

========================  =========================================================================================
``loop``                  an event loop: asyncio's own order within a process, virtual time
``process``               a process: its loop, the thread of its engine, its datagrams; it is killed and paused
``world``                 the machine: the clock, and who runs next
``faults``                what goes wrong, and when
``database``              SQLite, on which a statement may fail
``chance``                what taskq draws by itself, drawn from the seed
``load``                  the app, the producers and the workers
``custody``               the contract of the broker, checked at each delivery and settle
``checking``              what has to hold at the end
``run``                   one seed from its beginning to its end
``planted``               bugs that are planted to see that they are found
========================  =========================================================================================

What it cannot see: faults of threads among themselves within one engine (a turn of an engine is one step here), tasks
in threads and processes, the operating system's and SQLite's own errors, RabbitMQ.
"""
