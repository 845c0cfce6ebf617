"""What RabbitMQ itself says when it closes a channel or a connection, as errors. Pure.

It says why in the reply text: ``ACCESS_REFUSED - access to queue 'x' in vhost '/' refused for user 'y'``, at most 255
bytes long.
"""

from __future__ import annotations

import re
import shlex

from taskq.broker.amqp.mismatch import Untold, read_complaint
from taskq.broker.amqp.topology import QueueSpec
from taskq.errors import AccessRefused, BrokerError, BrokerUnreachable, MessageTooLarge, QueueMismatch, Unroutable

_NO_QUEUE = re.compile(r"NOT_FOUND - no queue '(.*)' in vhost ")
_NO_EXCHANGE = re.compile(r"NOT_FOUND - no exchange '(.*)' in vhost ")
_QUEUE = re.compile(r"(?:inequivalent arg '[^']*' for|exclusive access to locked) queue '(.*?)(?:' in vhost |\.\.\.$)")
_NO_PERMISSION = re.compile(
    r"ACCESS_REFUSED - (?:(?P<permission>configure|write|read) )?access to (?P<kind>\w+) '(?P<name>.*)' "
    r"in vhost '(?P<vhost>.*)' refused for user '(?P<user>.*)'"
)
_TOO_LARGE = re.compile(r"message size (\d+) is larger than (?:configured )?max size (\d+)")
_NO_VHOST = re.compile(r"vhost (.*) not found")
_VHOST_CLOSED = re.compile(r"access to vhost '(?P<vhost>.*)' refused for user '(?P<user>.*?)'$")


def no_exchange(exchange: str, label: str) -> BrokerError:
    """Return the error of an exchange that does not exist."""
    return BrokerError(
        f"exchange {exchange!r} does not exist on {label}; start the program that declares it, or declare it here"
    )


def missing_exchange(text: str) -> str | None:
    """Return the name of the exchange whose absence closed a channel."""
    found = _NO_EXCHANGE.match(text)
    return found and found[1]


def is_missing(text: str) -> bool:
    """Whether the text is about a queue or an exchange that does not exist.

    Not so when a queue is there, and its node is not: that is a 404, too.
    """
    return bool(_NO_QUEUE.match(text) or _NO_EXCHANGE.match(text))


def refused_channel(text: str, label: str, permission: str = "") -> BrokerError | None:
    """Return the error behind a closed channel; ``None`` when the text is no refusal.

    ``permission``: the one that was needed, for RabbitMQ up to 3.11, which does not say; ``bind`` needs two.
    """
    if found := _NO_QUEUE.match(text):
        return Unroutable(found[1])
    if found := _NO_EXCHANGE.match(text):
        return no_exchange(found[1], label)
    if text.startswith("NOT_FOUND"):  # a queue that is there, on a node that is not
        return BrokerUnreachable(f"{label}: {text}; bring the nodes of its cluster back")
    if found := _QUEUE.search(text):
        return _mismatch(text, found[1])
    if text.startswith("ACCESS_REFUSED"):
        return _no_permission(text, label, permission)
    if found := _TOO_LARGE.search(text):
        return MessageTooLarge("the message", int(found[1]), int(found[2]), fixed=True)
    if re.match(r"[A-Z]+_[A-Z_]+ - ", text):
        return BrokerError(f"{label} refuses it: {text}{_advice(text)}")
    return None


def refused_connection(code: int, text: str, label: str) -> BrokerError:
    """Return the error behind a closed connection."""
    if found := _NO_VHOST.search(text):
        vhost = shlex.quote(found[1])
        return AccessRefused(
            f"{label}: there is no virtual host {found[1]!r}; check the path of the URL ('/' is written %2F or left "
            f"out), or make it: rabbitmqctl add_vhost {vhost}"
        )
    if found := _VHOST_CLOSED.search(text):
        return AccessRefused(
            f"{label}: the user {found['user']!r} may not use the virtual host {found['vhost']!r}; allow it: "
            f"{_set_permissions(found['vhost'], found['user'])}"
        )
    if "limit" in text or "channel_max" in text:
        return BrokerUnreachable(f"{label} takes no more: {text}; close other connections, or raise the limit")
    if code == 530 and not text:
        return AccessRefused(
            f"{label} refuses its virtual host and does not say why: it does not exist, this user may not use it, or a "
            "limit of connections is reached; the broker's log has the reason"
        )
    if text.startswith("ACCESS_REFUSED"):
        return AccessRefused(f"{label}: {text}; check the user's rights")
    return BrokerUnreachable(f"{label} closed the connection ({text or code}); taskq connects again")


def _mismatch(text: str, queue: str) -> BrokerError | None:
    """Name the one argument that the text is about; only a probe finds the others."""
    complaint = read_complaint(text, QueueSpec(queue))
    if complaint is None:
        return None
    present = complaint.present[0] if complaint.present else Untold.OTHER
    return QueueMismatch(queue, {complaint.argument: (complaint.received, present)})


def _no_permission(text: str, label: str, permission: str) -> BrokerError:
    found = _NO_PERMISSION.search(text)
    if found is None:
        return AccessRefused(f"{label}: {text}")
    # Whoever uses the default exchange can only want to publish to it, or to dead-letter.
    implied = "write" if found["name"] == "amq.default" else permission
    if permission == "bind":
        implied = {"queue": "write", "exchange": "read"}.get(found["kind"], "")
    which = found["permission"] or implied
    return AccessRefused(
        f"{label}: the user {found['user']!r} lacks the {f'{which!r} ' if which else ''}permission for "
        f"{found['kind']} {found['name']!r} in the virtual host {found['vhost']!r}; give it: "
        f"{_set_permissions(found['vhost'], found['user'])} (configure, write, read; a narrower pattern has to match "
        "that name)"
    )


def _set_permissions(vhost: str, user: str) -> str:
    return f"rabbitmqctl set_permissions -p {shlex.quote(vhost)} {shlex.quote(user)} '.*' '.*' '.*'"


def _advice(text: str) -> str:
    if "invalid arg" in text:
        return "; taskq needs RabbitMQ 3.10 or newer"
    if "limit" in text:
        return "; delete what is not used, or raise the limit"
    return ""
