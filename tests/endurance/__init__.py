"""Programs that run for long, and must have no more of anything at the end than at the beginning.

``program`` is what runs, ``stand`` keeps it at work and brings it to rest, ``brokers`` is what it runs on. ``watch``
takes samples and ``growth`` judges them. ``reconnects``, ``timeouts`` and ``soak`` are the runs, ``faults`` what goes
wrong in a soak, ``outcome`` what they have shown. `python -m tests.endurance --help` runs them for long.
"""
