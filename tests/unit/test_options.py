"""What a caller may say about one call: each bound, and each refusal."""

import math
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from taskq.errors import DeclarationError, UsageError
from taskq.tasks.duration import LONGEST_S, seconds
from taskq.tasks.options import NO_OPTIONS, CallOptions
from taskq.tasks.router import Router

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@Router().task
async def resize(url: str) -> None: ...


@pytest.mark.parametrize(
    ("duration", "value"),
    [(0, 0.0), (1, 1.0), (0.25, 0.25), (timedelta(minutes=1), 60.0), (timedelta(0), 0.0), (LONGEST_S, LONGEST_S)],
)
def test_duration_is_a_timedelta_or_seconds(duration: Any, value: float) -> None:
    assert seconds(duration, "delay") == value


OUT_OF_RANGE = [
    -1,
    -0.001,
    math.nan,
    math.inf,
    -math.inf,
    LONGEST_S + 1,
    10**400,
    -(10**400),
    timedelta(-1),
    timedelta.max,
]


@pytest.mark.parametrize("duration", OUT_OF_RANGE, ids=lambda duration: repr(duration)[:20])
def test_duration_out_of_range_is_refused(duration: Any) -> None:
    with pytest.raises(DeclarationError, match=r"delay: .* is out of range; it must be 0 to 10 years"):
        seconds(duration, "delay")


@pytest.mark.parametrize("duration", ["5", None, True, Decimal(5), b"", [5]])
def test_what_is_no_duration_is_refused(duration: Any) -> None:
    with pytest.raises(DeclarationError, match="is no duration; give a timedelta or a number of seconds"):
        seconds(duration, "delay")


def test_zero_is_refused_where_it_makes_no_sense() -> None:
    for zero in (0, 0.0, timedelta(0)):
        with pytest.raises(DeclarationError, match="it must be above 0"):
            seconds(zero, "timeout", zero=False)


def test_options_count_from_the_enqueue() -> None:
    assert NO_OPTIONS.not_before(100.0) is None
    assert NO_OPTIONS.deadline(100.0) is None
    assert CallOptions(delay=5).not_before(100.0) == 105.0
    assert CallOptions(delay=0).not_before(100.0) == 100.0
    assert CallOptions(at=NOON).not_before(100.0) == NOON.timestamp()
    assert CallOptions(expires=timedelta(minutes=1)).deadline(100.0) == 160.0


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 0},
        {"at": NOON},
        {"at": NOON.astimezone(timezone(timedelta(hours=-5)))},
        {"at": datetime(1971, 1, 1, tzinfo=UTC)},
        {"priority": 0},
        {"priority": 255},
        {"expires": 0.001},
        {"delay": 5, "expires": 6},
        {"reply_timeout": timedelta(hours=1)},
        {"job_id": "1"},
        {"job_id": "x" * 128},
        {"job_id": "ü" * 64},
        {"headers": {}},
        {"headers": {"a": 1, "b": "text", "c": 1.5, "d": True, "e": -(2**63), "f": 2**63 - 1, "n" * 128: ""}},
        {"headers": MappingProxyType({"tenant": "x"})},
    ],
    ids=str,
)
def test_options_within_their_bounds_are_accepted(options: dict[str, Any]) -> None:
    for bound in (resize.with_options(**options).bind("u"), resize.bind("u").with_options(**options)):
        assert {name: getattr(bound.options, name) for name in options} == options
        assert bound.body == b'{"url":"u"}'


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"delay": -1}, "delay: -1 is out of range"),
        ({"delay": "1"}, "delay: '1' is no duration"),
        ({"expires": 0}, "expires: 0 is out of range; it must be above 0"),
        ({"reply_timeout": 0}, "reply_timeout: 0 is out of range; it must be above 0"),
        ({"reply_timeout": math.inf}, "reply_timeout: inf is out of range"),
        ({"delay": 5, "expires": 5}, "must be longer than delay"),
        ({"delay": 1, "at": NOON}, "give delay or at, not both"),
        ({"at": NOON.replace(tzinfo=None)}, "has no time zone"),
        ({"at": 1893456000}, "has no time zone"),
        ({"priority": -1}, "priority: -1 must be a whole number from 0 to 255"),
        ({"priority": 256}, "priority: 256 must be"),
        ({"priority": True}, "priority: True must be"),
        ({"priority": 1.0}, "priority: 1.0 must be"),
        ({"priority": "5"}, "priority: '5' must be"),
        ({"job_id": ""}, "job_id: '' must be 1 to 128 printable characters"),
        ({"job_id": "x" * 129}, "job_id: "),
        ({"job_id": "ü" * 65}, "job_id: "),
        ({"job_id": "a\nb"}, "job_id: "),
        ({"job_id": "\ud800"}, "job_id: "),
        ({"job_id": 5}, "job_id: 5 must be"),
        ({"headers": [("a", 1)]}, "is no mapping"),
        ({"headers": {"": 1}}, "is no header name"),
        ({"headers": {"n" * 129: 1}}, "is no header name"),
        ({"headers": {1: 1}}, "is no header name"),
        ({"headers": {"\ud800": 1}}, "is no header name"),
        ({"headers": {"a\r\n": 1}}, "is no header name"),
        ({"headers": {"taskq-attempt": 9}}, "is reserved"),
        ({"headers": {"TASKQ-attempt": 9}}, "is reserved"),
        ({"headers": {"x-death": "a"}}, "is reserved"),
        ({"headers": {"traceparent": "a"}}, "is reserved"),
        ({"headers": {"CC": "a"}}, "is reserved"),
        ({"headers": {"a": None}}, "use text, a number or a bool"),
        ({"headers": {"a": b"x"}}, "use text, a number or a bool"),
        ({"headers": {"a": {"b": 1}}}, "use text, a number or a bool"),
        ({"headers": {"a": 2**63}}, "above 64 bits"),
        ({"headers": {"a": -(2**63) - 1}}, "above 64 bits"),
        ({"headers": {"a": math.nan}}, "which no JSON reader knows"),
        ({"headers": {"a": "\ud800"}}, "no valid Unicode"),
        ({"countdown": 3, "eta": 4}, "no option countdown, eta; there are at, delay, expires, headers, job_id"),
    ],
    ids=str,
)
def test_options_out_of_bounds_are_refused_on_the_task_and_on_the_bound_call(
    options: dict[str, Any], text: str
) -> None:
    for target in (resize, resize.bind("u")):
        with pytest.raises(DeclarationError, match=text) as caught:
            target.with_options(**options)
        assert isinstance(caught.value, UsageError)


def test_options_add_up_and_the_later_one_counts() -> None:
    task = resize.with_options(delay=5, priority=1).with_options(priority=2)
    call = task.bind("u").with_options(priority=3, job_id="j")
    assert call.options == CallOptions(delay=5, priority=3, job_id="j")
    assert task.options == CallOptions(delay=5, priority=2)
    assert call.with_options(delay=None, at=NOON).options == CallOptions(at=NOON, priority=3, job_id="j")
    assert resize.options == NO_OPTIONS


def test_options_belong_to_the_copy_and_the_way_to_the_app_to_all_copies() -> None:
    task = resize.with_options(delay=5)
    assert type(task) is type(resize)
    assert task.definition is resize.definition
    assert task.route is resize.route
    assert task.bind("u").route is resize.route


def test_headers_are_captured_when_they_are_given() -> None:
    headers = {"tenant": "a"}
    call = resize.with_options(headers=headers).bind("u")
    headers["tenant"] = "b"
    assert call.options.headers == {"tenant": "a"}
    with pytest.raises(TypeError):
        call.options.headers["tenant"] = "c"  # type: ignore[index]


def test_options_and_bound_calls_are_frozen_and_hashable() -> None:
    call = resize.bind("u")
    with pytest.raises(FrozenInstanceError):
        call.options.delay = 3  # type: ignore[misc]
    assert len({call, resize.bind("u"), resize.bind("v")}) == 2
