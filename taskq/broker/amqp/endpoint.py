"""Where RabbitMQ's management API is, from the URL of the broker or one of its own. Pure.

Without a URL of its own it is looked for on the broker's hosts, at RabbitMQ's own ports: 15672, and for ``amqps://``
15671 by TLS alone, since the password goes along. No password is in a repr, a label or an error.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from taskq.broker.amqp.location import Location, split_url
from taskq.errors import UsageError

_PORTS = {"http": 80, "https": 443}
_OWN_PORTS = {"amqp": ("http", 15672), "amqps": ("https", 15671)}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to ask. ``label``: its URL for people. ``prefix`` stands before ``/api``. ``login``: a header."""

    label: str
    host: str
    port: int
    tls: bool
    prefix: str = ""
    login: str = field(default="", repr=False)


def endpoints(location: Location, url: str = "") -> tuple[Endpoint, ...]:
    """Return where to ask, in this order. ``url``: the only place, ``http(s)://[user:password@]host[:port][/prefix]``.

    Without a user in it, user and password are the broker's. Raises :class:`UsageError` for what is no such URL.
    """
    address = urlsplit(location.addresses[0])
    if url:
        return (_named(_split(url), address),)
    scheme, port = _OWN_PORTS[address.scheme]
    hosts = dict.fromkeys(urlsplit(each).hostname or "" for each in location.addresses)
    return tuple(
        Endpoint(f"{scheme}://{_bracketed(host)}:{port}", host, port, scheme == "https", login=_login(address))
        for host in hosts
    )


def _split(url: str) -> SplitResult:
    if not url.isprintable() or " " in url:
        raise _nonsense("it has blanks or line breaks in it")
    parts = split_url(url)
    if parts is None:
        raise _nonsense("host or port cannot be read")
    if parts.scheme not in _PORTS or not parts.hostname or parts.port == 0:
        raise _nonsense("it begins with http:// or https:// and a host")
    if "@" in parts.path or "?" in url or "#" in url:
        raise _nonsense("behind the host comes a path at most")
    return parts


def _named(parts: SplitResult, address: SplitResult) -> Endpoint:
    assert parts.hostname
    port = f":{parts.port}" if parts.port else ""
    prefix = parts.path.rstrip("/").removesuffix("/api")
    return Endpoint(
        f"{parts.scheme}://{_bracketed(parts.hostname)}{port}{prefix}",
        parts.hostname,
        parts.port or _PORTS[parts.scheme],
        parts.scheme == "https",
        prefix,
        _login(parts if parts.username else address),
    )


def _login(parts: SplitResult) -> str:
    login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _nonsense(why: str) -> UsageError:
    # Never with a piece of the URL: where a password was not quoted, any of them may be a piece of it.
    return UsageError(
        f"management_url (TASKQ_MANAGEMENT_URL): {why}. It is http://host:15672 or "
        "https://user:password@host:15671/path; in a user or password, write @ as %40, : as %3A, / as %2F"
    )
