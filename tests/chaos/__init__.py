"""Breaking things under a running system, and comparing what was seen with what is promised.

A *run* has a site (a broker and the ways to it), member processes (workers, producers that also call) under a steady
load, and faults that are drawn from a seed. ``program`` is what the members run, ``load`` what producers send,
``member`` a process, ``progress`` follows their ledgers, ``fault`` says what a fault is, ``faults`` has them by what
they break, ``sites`` has the brokers, ``plan`` draws, ``world`` is what a fault may touch, ``run`` carries it out and
``outcome`` is what it found. `python -m tests.chaos --help` runs it for long.
"""
