"""Texts that are no UTF-8: they can be shown anywhere, and are written again as they were."""

import json
import pickle

import pytest

from taskq.broker.amqp.plane.faults import Unencodable
from taskq.broker.amqp.plane.rawtext import RawText, bytes_of, read_text
from taskq.broker.amqp.plane.tables import short_string


def test_text_that_can_be_read_is_plain_text() -> None:
    assert type(read_text("é".encode())) is str
    assert bytes_of("é") == "é".encode()


def test_other_text_can_be_printed_and_is_written_as_the_bytes_that_it_was() -> None:
    text = read_text(b"caf\xe9")
    assert f"{text}" == "caf�"
    assert json.loads(json.dumps({"text": text, text: 1}, ensure_ascii=False).encode()) == {"text": "caf�", "caf�": 1}
    assert bytes_of(text) == b"caf\xe9"
    assert bytes_of(text.upper()) == "CAF�".encode(), "what is made of it is what is shown"


def test_texts_that_look_alike_are_not_the_same() -> None:
    alike = [read_text(b"\xfe"), read_text(b"\xff"), "�"]
    assert len(set(alike)) == 3
    assert alike[0] != alike[1]
    assert alike[0] != alike[2]
    assert alike[0] == read_text(b"\xfe")
    for _ in range(2):
        assert [short_string(text) for text in alike] == [b"\x01\xfe", b"\x01\xff", b"\x03\xef\xbf\xbd"]


def test_it_goes_to_another_process_as_it_is() -> None:
    text = pickle.loads(pickle.dumps(read_text(b"caf\xe9")))
    assert isinstance(text, RawText)
    assert text.raw == b"caf\xe9"


def test_200_bytes_stay_200_bytes() -> None:
    assert short_string(read_text(b"\xff" * 200)) == b"\xc8" + b"\xff" * 200


def test_half_of_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(Unencodable, match="valid Unicode"):
        bytes_of("\ud800")
