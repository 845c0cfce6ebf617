"""The RabbitMQ of a page. Where its commands say `amqp://localhost`, they get a virtual host of the page's own."""

from __future__ import annotations

import asyncio
import re

from tests.support import rabbit

SHOWN = re.compile(r"\bamqp://localhost(?![\w:/.])")  # with a port or a path it is meant as it stands


class PageRabbit:
    """A virtual host, made when a command of the page first wants one."""

    def __init__(self) -> None:
        self._url = ""

    async def with_real_url(self, line: str) -> str:
        """Return a command as it is run."""
        if not SHOWN.search(line):
            return line
        if not self._url:
            self._url = await asyncio.to_thread(self._made)
        return SHOWN.sub(self._url, line)

    async def close(self) -> None:
        """Delete the virtual host, if there is one; harmless twice."""
        if self._url:
            url, self._url = self._url, ""
            await asyncio.to_thread(rabbit.shared(rabbit.brokers()[0]).drop_vhost, url)

    def _made(self) -> str:
        return rabbit.shared(rabbit.brokers()[0]).new_vhost()
