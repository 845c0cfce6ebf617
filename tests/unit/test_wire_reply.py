"""Replies: each kind there and back, and what others may send."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.errors import UndecodableMessage
from taskq.wire import headers as h
from taskq.wire.failure import MESSAGE_BYTES, TRACEBACK_BYTES, TYPE_BYTES, Failure
from taskq.wire.message import Message
from taskq.wire.reply import Cancelled, Expired, Failed, Reply, Returned, new_reply, read_reply

FAILURE = Failure("ValueError", "größer", 'Traceback\n  File "x"')


@pytest.mark.parametrize(
    "reply",
    [
        Returned(b"null"),
        Returned(b'{"a":1}'),
        Returned(b""),
        Failed("failed", FAILURE),
        Failed("timed-out", Failure("", "")),
        Expired(),
        Cancelled(),
    ],
    ids=repr,
)
def test_reply_is_read_as_it_was_written(reply: Reply) -> None:
    message = new_reply(reply, "j1")
    assert message.correlation_id == "j1"
    assert message.content_type == "application/json"
    assert message.type == ("result" if isinstance(reply, Returned) else "error")
    assert read_reply(message) == reply


def test_result_is_the_bare_json_and_an_error_an_object() -> None:
    assert new_reply(Returned(b"[1]"), None).body == b"[1]"
    message = new_reply(Failed("rejected", FAILURE), "j1")
    assert json.loads(message.body) == {"type": "ValueError", "message": "größer", "traceback": FAILURE.traceback}
    assert message.headers == {h.VERSION: 1, h.DEAD_REASON: "rejected", h.ERROR_TYPE: "ValueError"}


def test_reply_of_a_plain_program_is_a_result() -> None:
    assert read_reply(Message(body=b"832040", message_id="", correlation_id="1")) == Returned(b"832040")
    assert read_reply(Message(body=b"832040", message_id="", type="")) == Returned(b"832040")


@given(failure=st.builds(Failure, st.text(), st.text(), st.text()), long=st.sampled_from([1, 50_000]))
def test_any_failure_travels_within_its_budgets(failure: Failure, long: int) -> None:
    failure = Failure(failure.type * long, failure.message * long, failure.traceback * long)
    reply = read_reply(new_reply(Failed("failed", failure), "j1"))
    assert isinstance(reply, Failed)
    assert reply.failure == failure.fitted()


@pytest.mark.parametrize("kind", ["progress", "chunk", "end", "x" * 1000])
def test_unknown_kind_is_undecodable(kind: str) -> None:
    with pytest.raises(UndecodableMessage, match="a reply of the unknown type") as caught:
        read_reply(Message(body=b"{}", message_id="", type=kind))
    assert len(str(caught.value)) < 150


BROKEN: list[bytes] = [
    b"", b"null", b"[]", b'"x"', b"3", b"{}", b'{"type":"a"}', b'{"message":"a"}', b"\xff", b'{"type":"a","message":',
    b"[" * 100_000, b'{"type":"a","message":' + b"9" * 5000 + b"}", b"\xef\xbb\xbf{}",
]  # fmt: skip


@pytest.mark.parametrize("body", BROKEN, ids=lambda body: repr(body[:30]))
def test_error_that_cannot_be_read_is_undecodable(body: bytes) -> None:
    with pytest.raises(UndecodableMessage, match="an error reply that cannot be read") as caught:
        read_reply(Message(body=body, message_id="", type="error"))
    assert len(str(caught.value)) < 300


@given(
    body=st.binary() | st.dictionaries(st.sampled_from(["type", "message", "traceback"]), st.none() | st.integers() |
    st.text() | st.lists(st.text())).map(lambda value: json.dumps(value).encode()),
    kind=st.sampled_from([None, "result", "error", "chunk"]) | st.text(),
    headers=st.dictionaries(st.sampled_from([h.DEAD_REASON, h.VERSION]), st.none() | st.integers() | st.text()),
)  # fmt: skip
def test_hostile_reply_raises_only_undecodable(body: bytes, kind: str | None, headers: dict[str, Any]) -> None:
    try:
        reply = read_reply(Message(body=body, message_id="", type=kind, headers=headers))
    except UndecodableMessage:
        return
    assert isinstance(reply, Returned | Failed | Expired | Cancelled)


def test_error_of_others_is_cut_and_may_lack_a_traceback() -> None:
    body = json.dumps({"type": "x" * 99_999, "message": "y" * 99_999}).encode()
    reply = read_reply(Message(body=body, message_id="", type="error"))
    assert isinstance(reply, Failed)
    assert (reply.reason, reply.failure.traceback) == ("failed", "")
    assert len(reply.failure.type.encode()) <= TYPE_BYTES
    assert len(reply.failure.message.encode()) <= MESSAGE_BYTES
    assert TRACEBACK_BYTES > MESSAGE_BYTES
