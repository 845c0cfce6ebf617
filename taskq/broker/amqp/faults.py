"""What plane, client library, asyncio and system complain about, as errors that say what to do next. Pure.

A password is in none of these texts: they name the broker by its label.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager

import pamqp.exceptions
from aiormq import exceptions as client
from pamqp import commands

from taskq.broker.amqp.plane.faults import ChannelGone, NoChannelFree
from taskq.broker.amqp.refusals import refused_channel, refused_connection
from taskq.broker.amqp.tls import UnusableFiles
from taskq.errors import AccessRefused, BrokerError, BrokerUnreachable


@contextmanager
def translated(label: str, *, connecting: bool = False, permission: str = "") -> Generator[None]:
    """Raise what is raised inside as errors of ours; ``label`` is the broker's URL for people.

    ``connecting``: there is no connection yet, so that a lost one tells something about the address. ``permission``:
    what the operation needs, for brokers that do not say which one is missing. What is no error of the broker passes as
    it is, as does a real cancellation.
    """
    try:
        yield
    except BaseException as error:
        ours = error_of(error, label, connecting=connecting, permission=permission)
        if ours is None or ours is error:
            raise
        raise ours from error


def error_of(error: BaseException, label: str, *, connecting: bool = False, permission: str = "") -> BrokerError | None:
    """Return the error to raise instead of ``error``, or ``None`` when it is not about the broker."""
    match error:
        case BrokerError():
            return error
        case asyncio.CancelledError():
            return lost(label) if is_lost(error) else None
        case NoChannelFree():
            return BrokerError(f"{label}: {error.text}")
        case ChannelGone():
            refused = refused_channel(error.text, label, permission) if error.code else None
            return refused or lost(label, error.text)
        case client.AuthenticationError():
            return AccessRefused(f"{label} {_no_such_login(error)}")
        case client.ProbableAuthenticationError():
            said = _text(error).rstrip(".")
            return AccessRefused(f"{label} refuses this login: {said}. {_CERTIFICATE if _EXTERNAL in said else _LOGIN}")
        case client.ConnectionClosed():
            return refused_connection(_code(error), _text(error), label)
        case client.InvalidFrameError() | client.ProtocolSyntaxError() | client.IncompatibleProtocolError():
            return _not_understood(error, label) if connecting else lost(label, _text(error))
        case _:
            why = _why(error)
            if why is None:
                return None
            if connecting:
                return BrokerUnreachable(f"{label} cannot be reached: {why}")
            return lost(label, "" if isinstance(error, RuntimeError) else _text(error))


def is_final(error: BrokerError) -> bool:
    """Whether a connection failed for what the same try meets again: certificates, or files that the URL names."""
    cause = error.__cause__
    root = None if cause is None else _root(cause)
    return isinstance(root, UnusableFiles) or (isinstance(root, ssl.SSLError) and not isinstance(root, ssl.SSLEOFError))


def is_lost(error: BaseException) -> bool:
    """Whether a ``CancelledError`` comes from a dying connection.

    The client library cancels what waits on a connection that it gives up, and nobody asked our task to stop.
    """
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() == 0


def lost(label: str, why: str = "") -> BrokerUnreachable:
    """Return the error of an operation whose connection went away."""
    return BrokerUnreachable(f"the connection to {label} was lost{f' ({why})' if why else ''}; taskq connects again")


def _why(error: BaseException) -> str | None:
    """Say what is wrong with the way to the broker, and what to look at; ``None`` when it is something else."""
    cause = _root(error)
    match cause:
        case UnusableFiles():
            return str(cause)
        case ssl.SSLEOFError():
            return _ENDED
        case ssl.SSLError():
            return _no_tls(cause)
        case socket.gaierror():
            return f"its host has no address ({cause.strerror}); check the name, or this machine's DNS"
        case ConnectionRefusedError():
            return "nothing listens there (connection refused); is the broker running, and is the port right?"
        case TimeoutError():
            return "no answer in time; is a firewall between, or is the broker overloaded?"
        case asyncio.IncompleteReadError() | EOFError() | ConnectionResetError() | BrokenPipeError():
            return _ENDED
        case StopAsyncIteration():  # the client library's word for the same, when the end was there before it read
            return _ENDED
        case OSError() | client.AMQPError() | pamqp.exceptions.PAMQPException():
            return f"{_text(cause) or type(cause).__name__}; check the broker and the network"
        case RuntimeError() if isinstance(cause, client.ChannelInvalidStateError) or _CLOSED.search(str(cause)):
            return "it was closed meanwhile"
        case _:
            return None


# The client library says by plain RuntimeErrors that a connection is closed.
_CLOSED = re.compile(r" closed$|^Connection (?:was not opened|is not ready)|^No active transport")
_ENDED = (
    "it ended the connection without a word; is its port for TLS (amqps://), does it ask for a client certificate "
    "(certfile, keyfile), or is it going down?"
)
_EXTERNAL = "EXTERNAL"
_CERTIFICATE = (
    "With auth=external the user is the one that certfile names: make a user of that name without a password, or look "
    "at ssl_cert_login_from in the broker's configuration"
)
_LOGIN = "Check user and password in TASKQ_URL (the user 'guest' may log in from the broker's own machine only)"


def _root(error: BaseException) -> BaseException:
    """The system's error behind the client library's, when there is one."""
    cause = error.__cause__
    wrapped = isinstance(error, client.AMQPConnectionError) and isinstance(cause, OSError | EOFError)
    return cause if wrapped and cause is not None else error


def _no_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({error.verify_message}); {_trust_advice(error)}"
    text = str(error)
    if "WRONG_VERSION_NUMBER" in text:
        return "its port speaks no TLS; use amqp://, or the port for TLS (5671)"
    if _NO_CERTIFICATE.search(text):
        return f"it asks for a client certificate ({_text(error)}); add certfile=… and keyfile=… to the URL"
    if _BAD_CERTIFICATE.search(text):
        return (
            f"it does not accept our client certificate ({_text(error)}); certfile has to be valid today, and signed "
            "by an authority that the broker trusts"
        )
    return f"TLS failed ({_text(error)}); check certfile and keyfile, and what the broker asks for"


def _trust_advice(error: ssl.SSLCertVerificationError) -> str:
    match getattr(error, "verify_code", 0):
        case 9 | 10:  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
            return "renew it on the broker, or set the clock of this machine"
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return "use a host name that stands in it, or have one made for this name"
        case _:
            return "add ?cafile=… with the authority that signed it, and use the host name that it is made for"


# What the other side tells about ours: alerts, by OpenSSL's names. Up to TLS 1.2 a missing one is a failed handshake.
_NO_CERTIFICATE = re.compile(r"ALERT_CERTIFICATE_REQUIRED|ALERT_HANDSHAKE_FAILURE")
_BAD_CERTIFICATE = re.compile(r"ALERT_(?:UNKNOWN_CA|(?:BAD|UNSUPPORTED)_CERTIFICATE|CERTIFICATE_\w+)")


def _no_such_login(error: client.AuthenticationError) -> str:
    """Say which ways to log in there are; the one of the URL is none of them."""
    offered = error.args[0] if error.args and isinstance(error.args[0], str) else ""
    if _EXTERNAL in offered.split():
        return f"takes a login by certificate only ({offered}): add auth=external, certfile=… and keyfile=… to the URL"
    return (
        f"takes no login by certificate, as auth=external asks for ({offered}): enable the plugin "
        "rabbitmq_auth_mechanism_ssl there, and EXTERNAL in auth_mechanisms"
    )


def _not_understood(error: BaseException, label: str) -> BrokerError:
    close = _close_behind(error)
    if close is not None:
        return refused_connection(close.reply_code or 0, close.reply_text or "", label)
    if "OpenOk" in str(error):
        return refused_connection(530, "", label)
    return BrokerUnreachable(
        f"{label} cannot be reached: what answers there does not speak AMQP 0-9-1; check host and port "
        "(RabbitMQ's are 5672, and 5671 for TLS)"
    )


def _close_behind(error: BaseException) -> commands.Connection.Close | None:
    """Find the frame by which the broker refused a connection.

    The client library only says that it got another one than it waited for. What the frame says (no such virtual
    host, no right to use it, too many connections) is left in the traceback alone.
    """
    place = error.__traceback__
    while place is not None:
        frame = place.tb_frame.f_locals.get("frame")
        if isinstance(frame, commands.Connection.Close):
            return frame
        place = place.tb_next
    return None


def _text(error: BaseException) -> str:
    return str((error.args[-1] if error.args else "") or "").strip()


def _code(error: client.ConnectionClosed) -> int:
    return error.args[0] if len(error.args) > 1 and isinstance(error.args[0], int) else _CODES.get(type(error), 0)


_CODES: dict[type[client.ConnectionClosed], int] = {client.ConnectionNotAllowed: 530}
