"""The brokers that are broken, each with the ways to it; they are imported when they are asked for."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos.shape import Shape

# name on the command line: the module and the class of its site
BROKERS = {
    "sqlite": ("tests.chaos.sites.sqlite", "SqliteSite"),
    "rabbitmq": ("tests.chaos.sites.rabbit", "RabbitSite"),
    "rabbitmq4": ("tests.chaos.sites.rabbit", "RabbitSite"),
    "cluster": ("tests.chaos.sites.cluster", "ClusterSite"),
    "cluster4": ("tests.chaos.sites.cluster", "ClusterSite"),
}
SHAPES = {"sqlite": Shape(workers=6, rate=40.0)}  # eight processes contend for one file


def shape_of(broker: str) -> Shape:
    """Return how large a run on a broker is."""
    return SHAPES.get(broker, Shape())


def site_of(broker: str, folder: Path) -> AbstractAsyncContextManager[Any]:
    """Return the site of a broker, not yet entered; ``folder`` is where it may write."""
    module, name = BROKERS[broker]
    kind = getattr(import_module(module), name)
    make = partial(kind, folder, _rabbitmq4()) if broker.endswith("4") else partial(kind, folder)
    site: AbstractAsyncContextManager[Any] = make()
    return site


def _rabbitmq4() -> str:
    """Return the chroot of RabbitMQ 4: the one that tests run on, else where CI has it."""
    named = os.environ.get("TASKQ_TEST_RABBITMQ", "").split(",")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return next((name for name in named if name.startswith("/")), str(cache / "taskq" / "rabbitmq4"))
