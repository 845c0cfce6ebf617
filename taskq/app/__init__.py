"""The app: the composition root, and the only place that picks a broker."""

from taskq.app.application import TaskQ

__all__ = ["TaskQ"]
