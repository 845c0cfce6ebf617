"""Where a RabbitMQ is: the URL of a broker, read. Pure. No password is in a repr, a label or an error."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from taskq.errors import UsageError

PORTS = {"amqp": 5672, "amqps": 5671}
TLS_KEYS = ("cafile", "capath", "cadata", "certfile", "keyfile", "no_verify_ssl")
KEYS = (*TLS_KEYS, "auth")


@dataclass(frozen=True, slots=True)
class Location:
    """One RabbitMQ, which may have several hosts.

    ``label``: its URL for people. ``hosts``: ``name:port`` of each. ``addresses``: a URL for each host with all that
    belongs to it, the password too, in the same order; heartbeat and connection name are for the caller to add.
    """

    label: str
    vhost: str
    hosts: tuple[str, ...]
    addresses: tuple[str, ...] = field(repr=False)


def read_location(url: str) -> Location:
    """Read ``amqp://user:password@host:5672,other/vhost`` or ``amqps://…?cafile=…``.

    Ports are 5672, and 5671 for TLS; without a user it is ``guest`` with the password ``guest``; without a path the
    virtual host is ``/``. Raises :class:`UsageError` for anything else.
    """
    parts = _split(url)
    login, _, hostlist = parts.netloc.rpartition("@")
    user, colon, password = login.partition(":")
    hosts = tuple(_host(each, parts.scheme) for each in hostlist.split(","))
    vhost = unquote(parts.path[1:]) or "/"
    tail = ("/" if vhost == "/" else f"/{quote(vhost, safe='')}") + _query(parts)
    shown = f"{_quoted(user)}:***@" if colon else f"{_quoted(user)}@" if login else ""
    secret = f"{_quoted(user) or 'guest'}:{_quoted(password) or 'guest'}"
    return Location(
        label=f"{parts.scheme}://{shown}{','.join(hosts)}{tail}",
        vhost=vhost,
        hosts=hosts,
        addresses=tuple(f"{parts.scheme}://{secret}@{host}{tail}" for host in hosts),
    )


def split_url(url: str, *, one_host: bool = True) -> SplitResult | None:
    """Return the parts of a URL that can be read, with ``one_host`` its port too, else nothing.

    So no error that is raised instead is chained to the library's, whose text may hold what stands before the host.
    """
    try:
        parts = urlsplit(url)
        _ = one_host and parts.port
    except ValueError:
        return None
    return parts


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url:
        raise _nonsense("it has blanks or line breaks in it")
    parts = split_url(url, one_host=False)
    if parts is None:
        raise _nonsense("the host is no name and no address")
    if parts.scheme not in PORTS:
        raise _nonsense("RabbitMQ is amqp:// or amqps:// (with TLS)")
    if parts.fragment or "#" in url:
        raise _nonsense("it takes no '#'")
    if "@" in parts.path + parts.query:
        raise _nonsense("there is an '@' behind the host")
    return parts


def _host(text: str, scheme: str) -> str:
    parts = split_url(f"//{text}")
    if parts is None:
        raise _nonsense("a port is a number up to 65535")
    name, port = parts.hostname, parts.port
    if not name or port == 0 or "/" in text:
        raise _nonsense("a host is missing, as in amqp://host:5672 or amqp://one,two/vhost")
    return f"[{name}]:{port or PORTS[scheme]}" if ":" in name else f"{name}:{port or PORTS[scheme]}"


def _query(parts: SplitResult) -> str:
    if not all("=" in pair for pair in parts.query.split("&") if parts.query):
        raise _nonsense("after the '?' come key=value pairs, with '&' between")
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    names = [name for name, _ in pairs]
    unknown = sorted(set(names) - {*KEYS})
    if unknown or len({*names}) < len(names):
        known = ", ".join(KEYS)
        raise _nonsense(
            f"{', '.join(map(repr, unknown)) or 'a key twice'} after the '?'; it takes each once of: {known}"
        )
    if parts.scheme == "amqp" and {*names} & {*TLS_KEYS}:
        raise _nonsense(f"{', '.join(names)}: those are for TLS, that is amqps://")
    for name, value in pairs:
        # The client library would take any word but 0 for "do not verify".
        if (name == "no_verify_ssl" and value not in ("0", "1")) or (name == "auth" and value.lower() not in _AUTH):
            raise _nonsense(f"{name} is {'0 or 1' if name == 'no_verify_ssl' else ' or '.join(_AUTH)}")
    return f"?{urlencode(pairs)}" if pairs else ""


_AUTH = ("plain", "external")


def _quoted(text: str) -> str:
    return quote(unquote(text), safe="")


def _nonsense(why: str) -> UsageError:
    # Never with a piece of the URL: where a password was not quoted, any of them may be a piece of it.
    return UsageError(
        f"broker URL: {why}. It is amqp://user:password@host:5672/vhost; in a user, password or virtual host, write "
        "@ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"
    )
