"""Webhooks: HTTP callbacks that arrive, also when the other side is slow, overloaded or away for an hour.

It needs the extra ``webhooks`` (httpx). Run it, and deliver something::

    taskq worker workers.webhooks:app --concurrency 20
    taskq send workers.webhooks:app deliver '{"url": "http://127.0.0.1:8000/hook", "body": {"order": 7}}'

What becomes of a delivery:

- 2xx: done; the status is its result.
- 5xx, 408, 425, 429, no connection, no status within ``WEBHOOKS_TIMEOUT`` (10 s): again, in pauses that grow, after at
  least what ``Retry-After`` asks for. Ten attempts take an hour on average, two at most.
- any other status: no retry will help, so it becomes a dead letter at once. Redirects are among them: the receiver
  would get its data from somebody whom nobody chose. See ``taskq dead list workers.webhooks:app webhooks``.

Each delivery carries an ``Idempotency-Key`` that is the same over all its attempts, since one that was received may be
delivered again when its answer was lost. With ``WEBHOOKS_SECRET``, ``Webhook-Signature: sha256=…`` is the HMAC of the
body's bytes in hexadecimal; it does not tell a repetition from the first time, the key does.

URL and body lie in the broker, and in dead letters, as they were sent. Logs and errors name host and port alone.

Who may send jobs here chooses which address is called, from inside your network. When URLs come from customers, let
the worker out only through a proxy that refuses private addresses: ``HTTP_PROXY`` and ``HTTPS_PROXY`` are followed.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from random import Random

import httpx
from pydantic import Field, HttpUrl, JsonValue, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from taskq import Context, Exponential, Reject, Retry, RetryPolicy, TaskQ

LONGEST_WAIT_S = 3600.0
FACTOR = 3.0
HEADERS = {"Content-Type": "application/json", "User-Agent": "taskq-webhooks"}
PASSING = frozenset((408, 425, 429))
READ_BYTES = 65_536  # of an answer's body; the connection of a longer one is not used again


class WebhookSettings(BaseSettings):
    """``WEBHOOKS_SECRET``, empty for no signature, and ``WEBHOOKS_TIMEOUT`` of one attempt in seconds."""

    model_config = SettingsConfigDict(env_prefix="WEBHOOKS_")
    secret: SecretStr = SecretStr("")
    timeout: float = Field(default=10.0, gt=0, le=300)


@dataclass(frozen=True, slots=True)
class Sender:
    """What all deliveries of a worker share."""

    http: httpx.AsyncClient
    settings: WebhookSettings
    rng: Random

    async def post(self, url: str, content: bytes, headers: httpx.Headers) -> httpx.Response:
        """POST JSON, and return the answer. Raises ``TimeoutError``, and what httpx raises.

        The status counts as soon as it is there, whatever becomes of the answer's body.
        """
        if secret := self.settings.secret.get_secret_value():
            headers["Webhook-Signature"] = f"sha256={hmac.digest(secret.encode(), content, 'sha256').hex()}"
        answer: httpx.Response | None = None
        try:
            async with asyncio.timeout(self.settings.timeout):  # of all; httpx's own begin anew with each byte
                async with self.http.stream("POST", url, content=content, headers=headers) as answer:
                    async for _ in answer.aiter_raw():  # not decompressed, which could be a bomb
                        if answer.num_bytes_downloaded > READ_BYTES:
                            break
        except (TimeoutError, httpx.TransportError):
            if answer is None:
                raise
        assert answer is not None
        return answer


@asynccontextmanager
async def sender() -> AsyncGenerator[Sender]:
    """Make what the deliveries share. The worker's concurrency is what bounds the number of connections."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
    async with httpx.AsyncClient(timeout=None, headers=HEADERS, cookies=no_cookies, limits=limits) as http:
        yield Sender(http, WebhookSettings(), Random())


app = TaskQ("webhooks", lifespan=sender)
patient = RetryPolicy(attempts=10, backoff=Exponential(1, factor=FACTOR, cap=LONGEST_WAIT_S))


@app.task(queue="webhooks", context=True, retry=patient)
async def deliver(ctx: Context[Sender], url: HttpUrl, body: JsonValue) -> int:
    """POST ``body`` as JSON to ``url``, and return the status of the answer."""
    where, sender = f"{url.host}:{url.port}", ctx.state
    try:
        content = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        headers = httpx.Headers({"Idempotency-Key": ctx.job_id, "Webhook-Attempt": str(ctx.attempt)}, "utf-8")
        answer = await sender.post(str(url), content, headers)
    except (httpx.InvalidURL, httpx.LocalProtocolError, ValueError) as error:  # whose text may hold the URL
        raise Reject(f"no request to {where} can be made of this: {type(error).__name__}") from None
    except TimeoutError:
        raise Retry(f"no answer from {where} within {sender.settings.timeout:g} s") from None
    except httpx.TransportError as error:
        raise Retry(f"no answer from {where}: {type(error).__name__} {error}".rstrip()) from None
    if answer.is_success:
        return answer.status_code
    said = f"HTTP {answer.status_code} from {where}"
    if answer.is_server_error or answer.status_code in PASSING:
        asked_s = retry_after_s(answer.headers.get("Retry-After"), datetime.now(UTC))
        if asked_s is not None:  # and a pause on top, as the policy's: who were sent away together come back one by one
            asked_s += sender.rng.uniform(0.0, min(FACTOR ** (ctx.attempt - 1), LONGEST_WAIT_S))
        raise Retry(said, after=asked_s)
    raise Reject(f"{said}; redirects are not followed" if answer.is_redirect else said)


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, an hour at most; ``None`` where it asks for nothing.

    It holds a number of seconds or a date (RFC 9110, section 10.2.3).
    """
    if header is None:
        return None
    try:
        if header.strip().isdigit():
            wait_s = float(header)
        else:
            at = parsedate_to_datetime(header)
            wait_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    except ValueError:  # neither
        return None
    return min(max(wait_s, 0.0), LONGEST_WAIT_S)
