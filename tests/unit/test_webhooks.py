"""What `workers.webhooks` reads out of ``Retry-After``, and that it sends what can be sent."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskq.testing import Harness
from workers.webhooks import LONGEST_WAIT_S, app, deliver, retry_after_s

NOW = datetime(2026, 11, 6, 8, 49, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("3601", LONGEST_WAIT_S),
        ("9" * 500, LONGEST_WAIT_S),
        ("Fri, 06 Nov 2026 08:50:00 GMT", 23.0),
        ("Friday, 06-Nov-26 08:50:00 GMT", 23.0),
        ("Fri Nov  6 08:50:00 2026", 23.0),
        ("Fri, 06 Nov 2026 09:50:00 +0100", 23.0),
        ("Fri, 06 Nov 2026 08:50:00 -0000", 23.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT_S),
    ],
)
def test_it_is_a_number_of_seconds_or_a_date_and_an_hour_at_most(header: str, seconds: float) -> None:
    assert retry_after_s(header, NOW) == seconds


@pytest.mark.parametrize(
    "header", [None, "", "soon", "-5", "1.5", "1e3", "²", "Fri, 06 Nov", "Fri, 32 Nov 2026 08:50:00 GMT"]
)
def test_what_is_neither_asks_for_nothing(header: str | None) -> None:
    assert retry_after_s(header, NOW) is None


WORDS = st.sampled_from(
    ["Fri,", "06", "Nov", "2026", "99999", "0000", "08:49:37", "::", "23:59:60", "GMT", "+9999", "-", ""]
)


@given(st.lists(WORDS, max_size=8).map(" ".join) | st.text(string.printable) | st.text())
def test_no_header_breaks_it(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or 0.0 <= seconds <= LONGEST_WAIT_S


@given(st.integers(-10_000, 10_000))
def test_a_date_is_as_good_as_seconds(seconds: int) -> None:
    date = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert retry_after_s(date, NOW) == retry_after_s(str(max(seconds, 0)), NOW)


async def test_a_url_that_cannot_be_called_is_a_dead_letter_that_names_its_host_alone() -> None:
    async with Harness(app) as h:
        await deliver.enqueue("http://☃.example/path?token=s3cret", None)  # type: ignore[arg-type]  # text is a URL, too
        await h.drain()
        (letter,) = h.dead
        assert (letter.reason, letter.attempt) == ("rejected", 1)
        assert letter.failure.message.startswith("no request to xn--n3h.example:80 can be made of this")
        assert "s3cret" not in letter.failure.message + letter.failure.traceback
