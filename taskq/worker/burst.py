"""When a burst is over: nothing is ready in the worker's queues, and no retry of its own is on its way."""

from __future__ import annotations

from taskq.worker.pipeline import Pipeline

_RETRY_MARGIN_S = 2.0


async def is_drained(pipeline: Pipeline) -> bool:
    """Say whether a worker that runs nothing at the moment has nothing left to do.

    Jobs that were delayed by somebody else, or that another worker holds, are not waited for. A job that this worker
    put off for a retry is, unless another worker took it.
    """
    states = {state.name: state for state in await pipeline.broker.inspector.queues()}
    own = [states[name] for name in pipeline.slots if name in states]
    if any(state.ready for state in own):
        return False
    now = pipeline.clock.now()
    awaited = pipeline.tally.last_retry_at + _RETRY_MARGIN_S > now
    # A broker that does not know what is delayed is waited for as if all of it still were.
    return not (awaited and any(state.delayed or state.delayed is None for state in own))
