"""Bindings as rows. A headers binding is the same one when its names and values are the same."""

from __future__ import annotations

import json
from collections.abc import Mapping

from taskq.broker.sqlite.batch import Batch
from taskq.tasks.exchanges import Binding

_BIND = """
INSERT OR IGNORE INTO binding (exchange, queue, key, headers, match)
SELECT e.id, q.id, ?3, ?4, ?5 FROM exchange e, queue q WHERE e.name = ?1 AND q.name = ?2
"""
_UNBIND = """
DELETE FROM binding WHERE exchange = (SELECT id FROM exchange WHERE name = ?1)
  AND queue = (SELECT id FROM queue WHERE name = ?2) AND key = ?3 AND headers = ?4 AND match = ?5
"""


def bind(batch: Batch, binding: Binding) -> None:
    """Make a binding, between an exchange and a queue that exist. Repeating it is harmless."""
    batch.db.execute(_BIND, _values(binding))
    batch.forget_routes()


def unbind(batch: Batch, binding: Binding) -> None:
    """Remove a binding, if it is there."""
    batch.db.execute(_UNBIND, _values(binding))
    batch.forget_routes()


def _values(binding: Binding) -> tuple[str, ...]:
    return binding.exchange, binding.queue, binding.key, _packed(binding.headers), binding.match


def _packed(headers: Mapping[str, object]) -> str:
    return json.dumps(dict(headers), sort_keys=True, separators=(",", ":"))
