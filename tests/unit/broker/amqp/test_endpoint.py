"""Where the management API is looked for."""

import base64

import pytest

from taskq.broker.amqp.endpoint import Endpoint, endpoints
from taskq.broker.amqp.location import read_location
from taskq.errors import UsageError


def found(url: str, management: str = "") -> list[Endpoint]:
    return list(endpoints(read_location(url), management))


def login(endpoint: Endpoint) -> str:
    return base64.b64decode(endpoint.login.removeprefix("Basic ")).decode()


@pytest.mark.parametrize(
    ("url", "labels"),
    [
        ("amqp://localhost", ["http://localhost:15672"]),
        ("amqp://one:5673,two,one:5674/shop", ["http://one:15672", "http://two:15672"]),
        ("amqp://[::1]:5672", ["http://[::1]:15672"]),
        ("amqps://u:p@mq", ["https://mq:15671"]),
    ],
)
def test_it_is_looked_for_on_the_hosts_of_the_broker_and_only_by_tls_where_the_broker_is(
    url: str, labels: list[str]
) -> None:
    assert [each.label for each in found(url)] == labels
    assert all(each.tls is url.startswith("amqps") for each in found(url))


@pytest.mark.parametrize(
    ("url", "expected", "user"),
    [
        ("http://mq:15672", ("http://mq:15672", "mq", 15672, False, ""), "shop:s/ö"),
        ("https://mq", ("https://mq", "mq", 443, True, ""), "shop:s/ö"),
        ("https://mq/rabbit/", ("https://mq/rabbit", "mq", 443, True, "/rabbit"), "shop:s/ö"),
        ("http://mq/rabbit/api", ("http://mq/rabbit", "mq", 80, False, "/rabbit"), "shop:s/ö"),
        ("http://watch:a%40b@[::1]:8080", ("http://[::1]:8080", "::1", 8080, False, ""), "watch:a@b"),
    ],
)
def test_a_url_of_its_own_is_the_only_place(url: str, expected: tuple[object, ...], user: str) -> None:
    (endpoint,) = found("amqp://shop:s%2F%C3%B6@one,two", url)
    assert (endpoint.label, endpoint.host, endpoint.port, endpoint.tls, endpoint.prefix) == expected
    assert login(endpoint) == user


def test_without_a_user_it_is_guest() -> None:
    assert login(found("amqp://localhost")[0]) == "guest:guest"


@pytest.mark.parametrize(
    "url",
    ["mq:15672", "amqp://u:secret@mq", "http://", "http://u:secret@mq:port", "http://u:se cret@mq", "http://mq:0",
     "http://u:secret@mq/?x=1", "http://u:secret@mq/#x", "http://u:sec/ret@mq", "http://[secret"],
)  # fmt: skip
def test_what_is_no_url_of_it_is_told_without_the_password(url: str) -> None:
    with pytest.raises(UsageError, match="TASKQ_MANAGEMENT_URL") as caught:
        found("amqp://localhost", url)
    assert "sec" not in str(caught.value)


def test_no_password_is_shown() -> None:
    for each in [*found("amqps://u:secret@mq"), *found("amqp://mq", "http://u:secret@mq")]:
        assert "secret" not in repr(each)
        assert each.login not in repr(each)
