"""When a burst is over: nothing is ready in the worker's queues, and no retry of its own is on its way.

What it does not see: jobs that other workers hold, which may still come back, and jobs that others have delayed.
RabbitMQ tells a client neither what is unsettled nor what is delayed. There, a retry counts as on its way until its
time has come and a little longer, whoever ran it meanwhile; and since a job that the broker has just handed to this
worker is not ready any more and may not be here yet, the queues have to be empty twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from taskq.broker.protocol import QueueState
from taskq.errors import BrokerUnreachable
from taskq.worker.pipeline import Pipeline

_RETRY_MARGIN_S = 2.0
_HANDOVER_S = 0.2  # how long a job may be on its way from the broker to this worker
_PATIENCE_S = 5.0  # with a broker that does not answer: a stop that comes meanwhile waits as long


async def is_drained(pipeline: Pipeline) -> bool:
    """Say whether a worker that runs nothing at the moment has nothing left to do.

    A broker that is away for a while answers neither way: its connection comes back by itself. Raises
    :class:`BrokerError` when the queues cannot be looked at.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            states = await _look(pipeline)
            if _is_empty(states, pipeline) and any(state.unsettled is None for state in states):
                await asyncio.sleep(_HANDOVER_S)
                states = await _look(pipeline)
    except TimeoutError:
        return False
    return _is_empty(states, pipeline)


async def _look(pipeline: Pipeline) -> list[QueueState]:
    inspector = pipeline.broker.inspector
    try:
        states = await inspector.queues()
    except BrokerUnreachable:  # lost while it was asked; a second question waits for the new connection
        states = await inspector.queues()
    return [state for state in states if state.name in pipeline.slots]


def _is_empty(states: Sequence[QueueState], pipeline: Pipeline) -> bool:
    if any(state.ready for state in states):
        return False
    awaited = pipeline.tally.last_retry_at + _RETRY_MARGIN_S > pipeline.clock.now()
    return not (awaited and any(state.delayed or state.delayed is None for state in states))
