"""The command line: ``taskq worker``, ``taskq send`` and their neighbours, on the public face of the app."""

from taskq.cli.program import main

__all__ = ["main"]
