"""How a publish fails, in the words that its caller gets. Pure."""

from __future__ import annotations

from taskq.broker.amqp.outbox import Publish
from taskq.broker.amqp.plane.faults import HeaderTooLarge, Unencodable
from taskq.broker.amqp.refusals import refused_channel
from taskq.errors import AccessRefused, BrokerBlocked, BrokerError, MessageTooLarge, PublishUnconfirmed, UsageError


def unsendable(publish: Publish, error: Exception) -> BrokerError | UsageError:
    """Return the error of a publish whose frames cannot be made; nothing was sent.

    :class:`HeaderTooLarge` depends on the connection; what is not even :class:`Unencodable` is a fault of ours.
    """
    if isinstance(error, HeaderTooLarge):
        header = f"the header (properties and headers, in one frame of this broker) of {publish.what}"
        return MessageTooLarge(header, error.size, error.limit, fixed=True)
    if isinstance(error, Unencodable):
        return UsageError(f"AMQP cannot carry {publish.what}: {error}")
    return BrokerError(f"{publish.what} cannot be sent, which is a fault of taskq: {error!r}")


def refused(publish: Publish, text: str, label: str, *, again: bool) -> BrokerError:
    """Return the error of a publish that the broker closed a channel for, saying ``text``.

    ``again``: a copy was sent before over a connection that was lost. It may be stored where the broker refuses now
    what it took then: a permission was taken away. All else that it refuses depends on the message alone.
    """
    error = refused_channel(text, label, "write") or BrokerError(f"{label} refuses the message: {text}")
    if again and isinstance(error, AccessRefused):
        return PublishUnconfirmed(publish.what, publish.timeout_s, reason=str(error))
    return error


def crashed(publish: Publish, label: str) -> PublishUnconfirmed:
    """Return the error of a publish with which the broker failed inside, time after time."""
    return PublishUnconfirmed(publish.what, publish.timeout_s, reason=f"{label} fails inside each time it gets this")


def late(publish: Publish, label: str, *, blocked: str | None, trouble: BrokerError | None) -> BrokerError:
    """Return the error of a publish whose deadline has passed.

    ``blocked`` is the reason of the broker's alarm, ``trouble`` that of a connection that is not there.
    """
    alarm = f"{label} takes nothing at the moment: {blocked}" if blocked else ""
    if publish.sent:
        lost = "" if trouble is None else str(trouble)
        return PublishUnconfirmed(publish.what, publish.timeout_s, reason=alarm or lost)
    if blocked:
        return BrokerBlocked(
            f"{publish.what}: {alarm}. Nothing was stored; free the broker's disk or memory, then try again"
        )
    if trouble is not None:
        return trouble
    return BrokerBlocked(
        f"{publish.what}: {label} did not take it within {publish.timeout_s:g} s; nothing was stored. "
        "The broker is overloaded: publish slower, or raise TASKQ_PUBLISH_TIMEOUT"
    )


def nacked(publish: Publish, label: str) -> BrokerBlocked | PublishUnconfirmed:
    """Return the error of a publish that the broker refused; a copy that was sent before it may be stored."""
    if publish.copied:
        return PublishUnconfirmed(publish.what, publish.timeout_s, reason=f"{label} refused it when it was sent again")
    if publish.exchange:
        return BrokerBlocked(
            f"{label} refused {publish.what}: a queue behind that exchange is full, or has lost most of its nodes; "
            "other queues may have taken the message"
        )
    return BrokerBlocked(
        f"{label} refused the message; nothing was stored. Its queue is full, has lost most of its nodes, or its "
        "leader a moment ago: then try again"
    )
