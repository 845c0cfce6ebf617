"""RabbitMQ's management HTTP API: which queues, exchanges and bindings a virtual host has. It is only ever read.

AMQP has no question for that. The API comes with the plugin ``rabbitmq_management``, and answers users that have the
tag ``management``. Queues and exchanges come in pages of 500, which takes RabbitMQ 0.1 s each; of bindings it makes no
pages, but it has ten thousand ready in 0.5 s. Numbers are statistics: some seconds old, and missing at first.

Nothing is sent anywhere else: no proxy, no redirect, since the password goes along. It is asked in a thread of the
loop's own, one question after the other.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, urlencode

from pydantic import BaseModel, ValidationError, model_validator

from taskq.broker.amqp.endpoint import Endpoint, endpoints
from taskq.broker.amqp.location import Location
from taskq.broker.amqp.tls import UnusableFiles, tls_context

_SILENCE_S = 2.0
_LONGEST_ANSWER_S = 20.0
_PAGE = 500
_CHUNK = 1 << 16
_LOGIN = (401, 403)
_ENABLE = "enable it (rabbitmq-plugins enable rabbitmq_management), or set TASKQ_MANAGEMENT_URL"


class NoManagement(Exception):
    """The API does not tell; the text says why, and what to do. ``final``: neither would the other hosts."""

    def __init__(self, why: str, advice: str, *, final: bool = False) -> None:
        self.final = final
        super().__init__(f"{why}; {advice}")


class QueueRow(BaseModel):
    """A queue. Its numbers are ``None`` before there are statistics."""

    name: str
    messages_ready: int | None = None
    messages_unacknowledged: int | None = None
    consumers: int | None = None


class ExchangeRow(BaseModel):
    """An exchange; the name of the default one is empty."""

    name: str
    type: str
    durable: bool


class BindingRow(BaseModel):
    """A binding. ``destination_type`` is ``queue`` or ``exchange``."""

    source: str
    destination: str
    destination_type: str
    routing_key: str
    arguments: dict[str, Any]


Row = TypeVar("Row", QueueRow, ExchangeRow, BindingRow)


class _Page(BaseModel, Generic[Row]):
    items: list[Row]
    page_count: int = 1

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, value: Any) -> Any:
        return {"items": cast("Any", value)} if isinstance(value, list) else value


@dataclass(frozen=True, slots=True)
class Told(Generic[Row]):
    """What the API told, and which one: ``label``."""

    rows: list[Row]
    label: str


class Management:
    """Asks the first host of ``location`` that answers, or ``url`` alone; see :mod:`~taskq.broker.amqp.endpoint`.

    ``silence_s``: how long it may say nothing. Every method raises :class:`NoManagement`, and nothing else.
    """

    def __init__(self, location: Location, url: str = "", *, silence_s: float = _SILENCE_S) -> None:
        self._location = location
        self._vhost = location.vhost
        self._endpoints = endpoints(location, url)
        self._silence_s = silence_s

    async def queues(self) -> Told[QueueRow]:
        """Return all queues of the virtual host."""
        return await self._ask("queues", _Page[QueueRow], QueueRow)

    async def exchanges(self) -> Told[ExchangeRow]:
        """Return all exchanges of the virtual host."""
        return await self._ask("exchanges", _Page[ExchangeRow], ExchangeRow)

    async def bindings(self) -> Told[BindingRow]:
        """Return all bindings of the virtual host, also those between exchanges."""
        return await self._ask("bindings", _Page[BindingRow], BindingRow, paged=False)

    async def _ask(self, what: str, page: type[_Page[Row]], row: type[Row], *, paged: bool = True) -> Told[Row]:
        query = {"columns": ",".join(row.model_fields)} | ({"page_size": _PAGE, "sort": "name"} if paged else {})
        path = f"/api/{what}/{quote(self._vhost, safe='')}?{urlencode(query)}"
        stopped = threading.Event()
        try:
            return await asyncio.to_thread(self._first, path, page, paged=paged, stopped=stopped)
        finally:
            stopped.set()  # whoever is cancelled wants no further page

    def _first(self, path: str, page: type[_Page[Row]], *, paged: bool, stopped: threading.Event) -> Told[Row]:
        error: NoManagement | None = None
        for endpoint in self._endpoints:
            try:
                return Told(self._read(endpoint, path, page, paged=paged, stopped=stopped), endpoint.label)
            except NoManagement as silent:
                if silent.final:
                    raise
                error = error or silent
        assert error is not None
        raise error

    def _read(
        self, endpoint: Endpoint, path: str, page: type[_Page[Row]], *, paged: bool, stopped: threading.Event
    ) -> list[Row]:
        rows: list[Row] = []
        number = count = 1
        connection = self._connection(endpoint)
        try:
            while number <= count and not stopped.is_set():
                status, body = self._get(connection, endpoint, f"{path}&page={number}" if paged else path)
                if status == 400 and number > 1:  # so many queues have gone meanwhile that there is no such page
                    break
                read = page.model_validate_json(_checked(status, body, endpoint, self._vhost))
                rows += read.items
                number, count = number + 1, read.page_count
        except ValidationError:
            raise _something_else(endpoint) from None
        finally:
            connection.close()
        return rows

    def _connection(self, endpoint: Endpoint) -> HTTPConnection:
        if not endpoint.tls:
            return HTTPConnection(endpoint.host, endpoint.port, timeout=self._silence_s)
        try:
            context = tls_context(self._location.addresses[0])
        except UnusableFiles as error:
            raise NoManagement(str(error), "that is TASKQ_URL, whose files are used for both") from None
        return HTTPSConnection(endpoint.host, endpoint.port, timeout=self._silence_s, context=context)

    def _get(self, connection: HTTPConnection, endpoint: Endpoint, path: str) -> tuple[int, bytes]:
        headers = {"Authorization": endpoint.login, "Accept": "application/json"}
        try:
            connection.request("GET", endpoint.prefix + path, headers=headers)
            response = connection.getresponse()
            return response.status, _body(response)
        except (OSError, HTTPException, UnicodeError) as error:
            why = self._why(error)
        raise NoManagement(f"the management API at {endpoint.label} does not answer ({why})", _ENABLE)

    def _why(self, error: Exception) -> str:
        match error:
            case ConnectionRefusedError():
                return "connection refused"
            case TimeoutError():
                return f"nothing came for {self._silence_s:g} s, or not all of it in {_LONGEST_ANSWER_S:g} s"
            case socket.gaierror():
                return "its host has no address"
            case ssl.SSLCertVerificationError():
                return f"its certificate is not trusted: {error.verify_message}"
            case ssl.SSLError():
                return "TLS failed"
            case HTTPException():
                return "what listens there speaks no HTTP"
            case OSError():
                return error.strerror or str(error) or type(error).__name__
            case _:
                return "its host is no name and no address"


def _body(response: HTTPResponse) -> bytes:
    """Read all of an answer, also when it drips, but not for ever."""
    until = time.monotonic() + _LONGEST_ANSWER_S
    size = response.length
    body = bytearray()
    while len(body) != size and (chunk := response.read1(_CHUNK)):
        body += chunk
        if time.monotonic() > until:
            raise TimeoutError
    if size is not None and len(body) < size:
        raise ConnectionResetError("it ended in the middle of its answer")
    response.close()  # it does not notice by itself that it was read, and keeps the connection from the next page
    return bytes(body)


def _checked(status: int, body: bytes, endpoint: Endpoint, vhost: str) -> bytes:
    """Return the body of an answer that is one."""
    if status == 200:
        return body
    reason = _reason(body)
    if status in _LOGIN:
        said = f": {reason}" if reason else ""
        raise NoManagement(
            f"the management API at {endpoint.label} refuses this login ({status}{said})",
            "its user needs the tag 'management' (rabbitmqctl set_user_tags) and a permission in the virtual host; or "
            "name another one: TASKQ_MANAGEMENT_URL=http://user:password@host:15672",
            final=True,
        )
    if status == 404 and reason:
        raise NoManagement(
            f"the management API at {endpoint.label} knows no virtual host {vhost!r}",
            "set TASKQ_MANAGEMENT_URL to that of the same RabbitMQ",
        )
    raise _something_else(endpoint, f" (status {status})")


def _something_else(endpoint: Endpoint, detail: str = "") -> NoManagement:
    return NoManagement(f"what answers at {endpoint.label} is not RabbitMQ's management API{detail}", _ENABLE)


def _reason(body: bytes) -> str:
    """Return what RabbitMQ says about an error: ``{"error": …, "reason": "Not management user"}``."""
    try:
        reason: object = json.loads(body)["reason"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return reason[:100] if isinstance(reason, str) else ""
