"""The URL of a RabbitMQ."""

import pickle

import aiormq
import pytest
from yarl import URL

from taskq.broker.amqp.location import read_location
from taskq.errors import UsageError


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("amqp://localhost", "amqp://localhost:5672/"),
        ("amqps://localhost/", "amqps://localhost:5671/"),
        ("amqp://ada:secret@rabbit:1234/shop", "amqp://ada:***@rabbit:1234/shop"),
        ("amqp://ada@rabbit", "amqp://ada@rabbit:5672/"),
        (
            "amqp://ada:se,cr@t@a:1,b,[::1]:3,[fe80::1]/%2Fshop",
            "amqp://ada:***@a:1,b:5672,[::1]:3,[fe80::1]:5672/%2Fshop",
        ),
        ("AMQP://Rabbit.Example/", "amqp://rabbit.example:5672/"),
        ("amqps://a/?cafile=/etc/ca.pem&auth=external", "amqps://a:5671/?cafile=%2Fetc%2Fca.pem&auth=external"),
    ],
)
def test_the_label_has_ports_and_no_password(url: str, label: str) -> None:
    assert read_location(url).label == label


@pytest.mark.parametrize(
    ("path", "vhost"),
    [
        ("", "/"),
        ("/", "/"),
        ("//", "/"),
        ("/%2F", "/"),
        ("/shop", "shop"),
        ("/%2Fshop", "/shop"),
        ("/a/b", "a/b"),
        ("/a%20b%3F%23%25", "a b?#%"),
        ("/straße", "straße"),
        ("/x/", "x/"),
    ],
)
async def test_the_client_library_reads_the_same_virtual_host(path: str, vhost: str) -> None:
    location = read_location(f"amqp://rabbit{path}")
    assert location.vhost == vhost
    assert aiormq.Connection(location.addresses[0]).vhost == vhost


@pytest.mark.parametrize(
    ("login", "user", "password"),
    [
        ("", "guest", "guest"),
        ("ada:secret@", "ada", "secret"),
        ("a%40b:p%2F%3A%25%2Bx+@", "a@b", "p/:%+x+"),
        ("ada:p@ss:w,rd@", "ada", "p@ss:w,rd"),
        ("ada:50%@", "ada", "50%"),
        ("ünal:größe@", "ünal", "größe"),
    ],
)
def test_the_client_library_reads_the_same_user_and_password(login: str, user: str, password: str) -> None:
    for address in read_location(f"amqp://{login}one,two:1/shop").addresses:
        assert (URL(address).user, URL(address).password) == (user, password)


def test_each_host_has_an_address_with_all_that_belongs_to_it() -> None:
    location = read_location("amqps://ada:secret@one,two:1/shop?cafile=ca.pem&no_verify_ssl=0")
    assert location.hosts == ("one:5671", "two:1")
    assert location.addresses == (
        "amqps://ada:secret@one:5671/shop?cafile=ca.pem&no_verify_ssl=0",
        "amqps://ada:secret@two:1/shop?cafile=ca.pem&no_verify_ssl=0",
    )
    named = URL(location.addresses[0]).update_query(heartbeat=15, name="shop 1")
    assert (named.query["cafile"], named.query["heartbeat"], named.query["name"]) == ("ca.pem", "15", "shop 1")


async def test_the_client_library_takes_what_stands_there_for_tls() -> None:
    query = "cafile=ca.pem&capath=/etc/ca&certfile=me.pem&keyfile=me.key&no_verify_ssl=1"
    certs = aiormq.Connection(read_location(f"amqps://rabbit/?{query}").addresses[0]).ssl_certs
    assert (certs.cafile, certs.capath, certs.cert, certs.key, certs.verify) == (
        "ca.pem",
        "/etc/ca",
        "me.pem",
        "me.key",
        False,
    )


def test_a_location_shows_no_password() -> None:
    location = read_location("amqp://ada:secret@one,two/shop")
    assert "secret" not in repr(location) + str(location) + location.label
    assert pickle.loads(pickle.dumps(location)) == location


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///x", "amqp:// or amqps://"),
        ("rabbit:5672", "amqp:// or amqps://"),
        ("amqp://", "a host is missing"),
        ("amqp:///shop", "a host is missing"),
        ("amqp://a,,b", "a host is missing"),
        ("amqp://secret:secret@", "a host is missing"),
        ("amqp://a:0", "a host is missing"),
        ("amqp://a:99999", "a number up to 65535"),
        ("amqp://secret:secret", "a number up to 65535"),
        ("amqp://user:sec/ret@a", "an '@' behind the host"),
        ("amqp://user:1/secret@a/", "an '@' behind the host"),
        ("amqp://user:1?secret=secret@a/", "an '@' behind the host"),
        ("amqp://user:1#secret@a/", "takes no '#'"),
        ("amqp://a#", "takes no '#'"),
        ("amqp://user:secret@[::1", "no name and no address"),
        ("amqp://user:secret\N{CARE OF}@a", "no name and no address"),
        ("amqp://user:sec ret@a", "blanks"),
        ("amqp://a/\n", "blanks"),
        ("amqp://a/?heartbeat=5", "'heartbeat' after the '\\?'; it takes each once of: cafile, .*keyfile.*auth"),
        ("amqps://a/?cafile=1&cafile=2", "a key twice after"),
        ("amqps://a/?cafile", "key=value"),
        ("amqp://a/?cafile=1", "cafile: those are for TLS"),
        ("amqps://a/?no_verify_ssl=false", "no_verify_ssl is 0 or 1"),
        ("amqp://a/?auth=secret", "auth is plain or external"),
    ],
)
def test_nonsense_is_refused_with_the_way_to_write_it_and_without_a_piece_of_the_url(url: str, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        read_location(url)
    assert "amqp://user:password@host:5672/vhost" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
