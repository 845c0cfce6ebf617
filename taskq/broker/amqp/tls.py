"""TLS on the way to RabbitMQ: the context, by what the broker's URL says after its ``?``. It reads files, and no more.

The broker and its management API are verified alike. Each connection reads the files anew, so that a certificate can
be renewed under a running program.
"""

from __future__ import annotations

import binascii
import ssl
from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

_FILES = ("cafile", "certfile", "keyfile")


class UnusableFiles(Exception):
    """What the URL names for TLS cannot be used; the text says which, why, and what to do."""


def tls_context(address: str) -> ssl.SSLContext:
    """Return how to verify whom this program connects to, and how it shows who it is itself.

    ``address``: one of those of a :class:`~taskq.broker.amqp.location.Location`.
    Without ``cafile``, ``capath`` and ``cadata`` the authorities of this machine are trusted, else those alone.
    Raises :class:`UnusableFiles`.
    """
    given = dict(parse_qsl(urlsplit(address).query))
    for key in _FILES:
        _check_readable(key, given.get(key))
    context = _trusting(given)
    if "certfile" in given:
        _show(context, given["certfile"], given.get("keyfile"))
    if given.get("no_verify_ssl") == "1":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _check_readable(key: str, path: str | None) -> None:
    """The module ``ssl`` does not say which file it misses."""
    if path is None:
        return
    try:
        open(path, "rb").close()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no name of a file"
        raise UnusableFiles(f"{key} {path!r} in the URL cannot be read ({why}); check name and permissions") from None


def _trusting(given: Mapping[str, str]) -> ssl.SSLContext:
    try:
        # A '+' of base64 is a blank in the query of a URL.
        data = b64decode(given["cadata"].replace(" ", "+"), validate=True) if "cadata" in given else None
        return ssl.create_default_context(cafile=given.get("cafile"), capath=given.get("capath"), cadata=data)
    except (OSError, binascii.Error, ValueError) as error:
        raise UnusableFiles(
            f"the certificates to trust cannot be used ({error}); cafile is a PEM file, capath a folder of such as "
            "OpenSSL has it, cadata the lines of one between BEGIN and END"
        ) from None


def _show(context: ssl.SSLContext, certfile: str, keyfile: str | None) -> None:
    try:
        context.load_cert_chain(certfile, keyfile, password=_no_password)
    except (OSError, ValueError) as error:
        raise UnusableFiles(
            f"the client certificate cannot be used ({error}); certfile is a PEM file with the certificate and its "
            "chain, keyfile one with its key, which is not encrypted"
        ) from None


def _no_password() -> str:
    """Where nobody answers, OpenSSL would ask on the terminal, and wait."""
    raise ValueError("the key is encrypted")
