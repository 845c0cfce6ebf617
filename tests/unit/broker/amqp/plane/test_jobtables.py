"""Headers of job after job: what is remembered of them is what was sent, whoever sent it."""

from struct import pack

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from taskq.broker.amqp.plane.faults import ProtocolViolation
from taskq.broker.amqp.plane.jobtables import encode_headers
from taskq.broker.amqp.plane.properties import decode_content
from taskq.broker.amqp.plane.tables import encode_table
from taskq.wire import headers as h

MARKER = b"\x11taskq-enqueued-atl"
NAMES = st.sampled_from([h.VERSION, h.QUEUE, h.ENQUEUED_AT, h.DEADLINE, h.ETA, "own"])
VALUES = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.text(max_size=20),
    st.sampled_from([MARKER.decode() + "12345678", "\x0etaskq-deadlinel", b"\xff" + MARKER + bytes(8)]),
    st.lists(st.integers(0, 9), max_size=2),
)


def decode_headers(table: bytes) -> dict[str, object]:
    """Return the headers of a content header that has nothing else."""
    return dict(decode_content(pack(">HHQH", 60, 0, 0, 1 << 13) + table, b"").headers)


@given(st.dictionaries(NAMES, VALUES))
def test_any_headers_come_back_as_they_were_the_first_time_and_the_second(table: dict[str, object]) -> None:
    written = encode_headers(table)
    assert written == encode_table(table), "the same bytes, remembered or not"
    for _ in range(2):
        assert decode_headers(written) == table


JOB_NAMES = (h.VERSION, h.ATTEMPT, h.EXECUTION, h.QUEUE, h.ENQUEUED_AT, h.DEADLINE)
ANY_VALUES = st.one_of(
    VALUES,
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.none(),
    st.sampled_from([0, 1, 1.0, True]),
)


@given(st.lists(ANY_VALUES, min_size=5, max_size=6), st.permutations(JOB_NAMES[:5]))
@example([0, 0.0, "jobs", 0.0, 0], list(JOB_NAMES[:5]))
@example([0, -0.0, "jobs", -0.0, 0], list(JOB_NAMES[:5]))
def test_headers_named_as_those_of_a_job_keep_values_of_any_kind(values: list[object], order: list[str]) -> None:
    for names in (JOB_NAMES, order):
        table = dict(zip(names, values, strict=False))
        assert encode_headers(table) == encode_table(table)
        read = decode_headers(encode_headers(table))
        assert [(name, type(value), value) for name, value in read.items()] == [
            (name, type(value), value) for name, value in table.items()
        ]


def test_a_table_that_ends_like_ours_and_is_broken_before_that_is_refused() -> None:
    broken = b"\x03abcS" + pack(">I", 200) + b"short"
    inside = broken + MARKER + bytes(8)
    with pytest.raises(ProtocolViolation):
        decode_headers(pack(">I", len(inside)) + inside)
