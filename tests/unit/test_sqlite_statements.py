"""The statements of the hot path use the indexes that were made for them."""

import sqlite3

import pytest

from taskq.broker.sqlite import batch, claiming, held, receiving, route
from taskq.broker.sqlite.database import open_database
from taskq.broker.sqlite.location import read_location


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        (claiming._NEXT_READY, "message_ready"),
        (claiming._TAKE, "message_ready"),
        (receiving._READ, "message_ready (queue=? AND priority=? AND rowid>?)"),
        (receiving._REMOVE, "message_ready (queue=? AND priority=? AND rowid<?)"),
        (held._CLAIMS, "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)"),
        (held._DELETE, "SEARCH message USING INTEGER PRIMARY KEY (rowid=?)"),
        (claiming._PROMOTE, "message_delayed"),
        (claiming._NEXT_DUE, "message_delayed"),
        (batch._EARLIEST, "message_delayed"),
        (claiming._HELD, "message_claimed"),
        (batch._LENGTH, "message_ready"),
        (batch._CUT, "message_ready"),
        (route._BINDINGS, "SEARCH b USING PRIMARY KEY (exchange=?)"),
        (route._BINDINGS_OF_KEY, "SEARCH b USING PRIMARY KEY (exchange=? AND key=?)"),
    ],
)
def test_a_statement_uses_its_index_and_sorts_nothing(statement: str, index: str) -> None:
    db: sqlite3.Connection = open_database(read_location("memory://plans"), 1.0)
    values = [1] * statement.count("?")
    plan = " | ".join(row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    db.close()
    assert index in plan
    assert "SCAN m" not in plan
    assert "B-TREE FOR ORDER BY" not in plan
