"""From a payload's body to a confirmed event. One for each open app; it implements
:class:`taskq.tasks.exchange.EventSender`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from taskq.broker.names import new_subscription_queue
from taskq.broker.protocol import Broker, Outgoing
from taskq.clock import Clock
from taskq.errors import PublishUnconfirmed
from taskq.events.listener import Listener
from taskq.lifecycle import Emitter, EventPublished
from taskq.tasks.exchange import Headers
from taskq.tasks.exchanges import TemporaryQueue
from taskq.tasks.payload import Payload
from taskq.wire.event import new_event
from taskq.wire.message import check_size


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPublisher:
    """Publishes the events of one app, and opens its listeners. Times are seconds, sizes bytes."""

    app: str
    broker: Broker
    clock: Clock
    emitter: Emitter
    publish_timeout_s: float
    max_message_bytes: int
    _listeners: set[Listener] = field(default_factory=set["Listener"])

    async def publish(self, exchange: str, body: bytes, *, key: str, headers: Headers | None, mandatory: bool) -> str:
        """Publish a body, and return the event's id when the broker has confirmed it."""
        message = new_event(body, now=self.clock.now(), app_id=self.app, headers=headers)
        check_size(message, self.max_message_bytes, f"the event for {exchange}")
        event_id = str(message.correlation_id)
        outgoing = Outgoing(message, key, mandatory=mandatory, exchange=exchange)
        try:
            await self.broker.publish(outgoing, timeout_s=self.publish_timeout_s)
        except PublishUnconfirmed as error:
            what = f"an event for {exchange} [id {event_id}]"
            raise PublishUnconfirmed(what, self.publish_timeout_s, event_id, error.reason) from None
        if self.emitter.wants(EventPublished):
            self.emitter.emit(EventPublished(event_id=event_id, exchange=exchange, key=key))
        return event_id

    def listen(self, queue: Callable[[str], TemporaryQueue], payload: Payload) -> Listener:
        """Return a stream of the events of a temporary queue, to be entered."""
        return Listener(self.broker, self.emitter, queue(new_subscription_queue()), payload, self._listeners)

    def close(self) -> None:
        """End all listeners: who waits for an event waits no longer."""
        for listener in list(self._listeners):
            listener.end()
