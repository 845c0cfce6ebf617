"""The promises, in words, with their mutants. A page of the docs shows them; a test holds the two together."""

from __future__ import annotations

from dataclasses import dataclass

from tests.promises.mutant import Mutant

_PUBLISHER = "taskq/broker/amqp/publisher.py"
_PUBLISHER_TESTS = "tests/unit/broker/amqp/test_publisher.py"
_CONSUMER_TESTS = "tests/unit/broker/amqp/test_consumer.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One promise. Without mutants it says what is *not* promised."""

    title: str
    text: str
    mutants: tuple[Mutant, ...] = ()


PROMISES = (
    Promise(
        title="At least once",
        text="A job that `enqueue` returned for is not lost: not by a worker's death, a broker's restart, a cut "
        "connection, or a shutdown.",
        mutants=(
            Mutant(
                breaks="RabbitMQ: a publish counts as confirmed when it was written",
                file=_PUBLISHER,
                old="        self._bytes += publish.size\n",
                new="        self._bytes += publish.size\n        publish.confirmed.set_result(None)\n",
                tests=(
                    f"{_PUBLISHER_TESTS}::test_confirms_find_their_publishes_alone_and_together",
                    "tests/integration/test_connections.py"
                    "::test_nothing_confirmed_is_lost_while_connections_are_cut_again_and_again",
                ),
            ),
            Mutant(
                breaks="RabbitMQ: what was not confirmed when the connection went is not sent again",
                file=_PUBLISHER,
                old="        self._backlog.put_back(left)\n",
                new="        self._backlog.put_back([])\n",
                tests=(
                    f"{_PUBLISHER_TESTS}::test_what_was_not_confirmed_goes_again_first_under_ids_of_its_own",
                    "tests/integration/test_connections.py"
                    "::test_nothing_confirmed_is_lost_while_connections_are_cut_again_and_again",
                ),
            ),
            Mutant(
                breaks="RabbitMQ: nobody is told of a message that no queue takes",
                file=_PUBLISHER,
                old="mandatory = publish.mandatory or not publish.exchange",
                new="mandatory = False",
                tests=(
                    "tests/conformance/test_publish.py"
                    "::test_a_message_for_a_missing_queue_is_unroutable_and_stored_nowhere",
                ),
            ),
            Mutant(
                breaks="RabbitMQ: messages do not outlive a restart of the broker",
                file="taskq/broker/amqp/plane/properties.py",
                old='_PERSISTENT = b"\\x02"\n',
                new='_PERSISTENT = b"\\x01"\n',
                tests=("tests/unit/broker/amqp/plane/test_content.py::test_the_oracle_reads_our_content_header",),
            ),
            Mutant(
                breaks="SQLite: a batch counts as stored when it was rolled back",
                file="taskq/broker/sqlite/engine.py",
                old='            db.execute("COMMIT")\n',
                new='            db.execute("ROLLBACK")\n',
                tests=(
                    "tests/conformance/test_publish.py::test_a_confirmed_message_survives_the_broker_that_published_it",
                ),
            ),
        ),
    ),
    Promise(
        title="The order of effects",
        text="The worker publishes what replaces a delivery (reply, retry copy, dead letter), waits for its confirm, "
        "and only then acknowledges. A crash in between makes a duplicate, never a loss.",
        mutants=(
            Mutant(
                breaks="RabbitMQ: the ack does not wait for the confirms",
                file="taskq/broker/amqp/delivery.py",
                old="        for confirm in confirms:\n"
                "            confirm.add_done_callback(one_ended)\n"
                "        return done\n",
                new="        self._consumer.settlements.end(self)\n"
                "        done.set_result(self._acknowledge(keep_slot))\n"
                "        return done\n",
                tests=(f"{_CONSUMER_TESTS}::test_a_delivery_is_acknowledged_when_all_that_replaces_it_is_confirmed",),
            ),
            Mutant(
                breaks="SQLite: a delivery goes without what replaces it",
                file="taskq/broker/sqlite/settling.py",
                old="            self._lost_replies = "
                "[packed.outgoing for packed in packed_messages if not batch.put(packed)]\n",
                new="            self._lost_replies = []\n",
                tests=(
                    "tests/conformance/test_settle.py::test_a_settle_removes_the_delivery_and_stores_what_replaces_it",
                ),
            ),
            Mutant(
                breaks="the worker acknowledges a job before it runs it",
                file="taskq/worker/pipeline.py",
                old="        job, outcome = await self._outcome(delivery, attempt)\n",
                new="        await delivery.settle()\n        job, outcome = await self._outcome(delivery, attempt)\n",
                tests=(
                    "tests/process/test_crashes.py"
                    "::test_the_job_of_a_killed_worker_goes_on_at_the_other_at_once[sqlite]",
                ),
            ),
        ),
    ),
    Promise(
        title="Fair dispatch",
        text="A worker never holds a message that it is not executing: a queue's prefetch equals its concurrency, 1 "
        "unless said otherwise.",
        mutants=(
            Mutant(
                breaks="RabbitMQ: it asks for one more than it has slots",
                file="taskq/broker/amqp/feed.py",
                old="commands.Basic.Qos(prefetch_count=prefetch)",
                new="commands.Basic.Qos(prefetch_count=prefetch + 1)",
                tests=("tests/conformance/test_consume.py::test_a_consumer_never_holds_more_than_its_prefetch",),
            ),
            Mutant(
                breaks="SQLite: it claims one more than it has slots",
                file="taskq/broker/sqlite/consumer.py",
                old="        self._asked = 0\n",
                new="        self._asked = 0\n        self._prefetch += 1\n",
                tests=("tests/conformance/test_consume.py::test_a_consumer_never_holds_more_than_its_prefetch",),
            ),
        ),
    ),
    Promise(
        title="No delay in worker memory",
        text="Delays, ETAs and backoffs wait in the broker, which also measures them.",
        mutants=(
            Mutant(
                breaks="a backoff is waited for by the worker",
                file="taskq/worker/pipeline.py",
                old="        overrunning = attempt.thread if attempt.overruns else None\n        pause_s = 0.0\n",
                new="        overrunning = attempt.thread if attempt.overruns else None\n        pause_s = 0.0\n"
                "        if isinstance(verdict, TryAgain):\n"
                "            await asyncio.sleep(verdict.at - self.clock.now())\n",
                tests=("tests/unit/test_pipeline.py::test_a_backoff_waits_in_the_broker_and_holds_no_slot",),
            ),
            Mutant(
                breaks="SQLite: a delayed message is ready at once",
                file="taskq/broker/sqlite/packing.py",
                old="None if not_before is None or not_before <= now else not_before",
                new="None",
                tests=("tests/conformance/test_delay.py::test_a_delayed_message_comes_at_its_time_and_not_before",),
            ),
            Mutant(
                breaks="RabbitMQ: a delayed message takes the way at whose end it is early",
                file="taskq/broker/amqp/delays.py",
                old="    return entry(min(delay_s, LONGEST_S), queue)\n",
                new="    return entry(min(delay_s, LONGEST_S) / 2, queue)\n",
                tests=("tests/conformance/test_delay.py::test_a_delayed_message_comes_at_its_time_and_not_before",),
            ),
        ),
    ),
    Promise(
        title="Every job ends",
        text="Result, dead letter with its reason, expired, or cancelled. A job that kills its worker is counted and "
        "ends as a dead letter; its caller is told.",
        mutants=(
            Mutant(
                breaks="the worker runs a job however often it came back",
                file="taskq/worker/prepare.py",
                old="    if queue is not None and delivery.redeliveries >= queue.delivery_limit:\n",
                new="    if False:\n",
                tests=("tests/unit/test_prepare.py::test_message_that_came_back_too_often_is_not_run_again",),
            ),
            Mutant(
                breaks="SQLite: deaths are not counted",
                file="taskq/broker/sqlite/claiming.py",
                old="SET claim = NULL, redeliveries = redeliveries + 1 WHERE",
                new="SET claim = NULL WHERE",
                tests=("tests/conformance/test_redelivery.py::test_a_closed_consumer_gives_its_deliveries_back",),
            ),
            Mutant(
                breaks="a job is run after its expiry",
                file="taskq/worker/prepare.py",
                old="    if job.is_expired(now):\n",
                new="    if False:\n",
                tests=("tests/unit/test_pipeline.py::test_expired_job_is_not_run_and_the_caller_is_told",),
            ),
            Mutant(
                breaks="the caller of a job that died is told nothing",
                file="taskq/worker/settle.py",
                old="    return [*replies, Outgoing(letter, dead_queue(delivery.queue))]\n",
                new="    return [Outgoing(letter, dead_queue(delivery.queue))]\n",
                tests=("tests/unit/test_pipeline.py::test_rejected_job_is_dead_at_once",),
            ),
        ),
    ),
    Promise(
        title="Interrupted is not failed",
        text="A job cut by a shutdown is handed back and starts again with the same attempt number; one that ended "
        "within the grace time is not run again while the connection holds.",
        mutants=(
            Mutant(
                breaks="a job that is handed back has used up an attempt",
                file="taskq/worker/settle.py",
                old="[Outgoing(job.copy(attempt=job.attempt, execution=execution + 1), queue)]",
                new="[Outgoing(job.copy(attempt=job.attempt + 1, execution=execution + 1), queue)]",
                tests=(
                    "tests/process/test_shutdown.py"
                    "::test_a_job_longer_than_the_grace_time_is_handed_back_with_its_attempt_number[sqlite]",
                ),
            ),
            Mutant(
                breaks="running jobs are cut at once, without their grace time",
                file="taskq/worker/worker.py",
                old="        if grace_s:\n",
                new="        if False:\n",
                tests=(
                    "tests/process/test_shutdown.py"
                    "::test_a_job_that_ends_within_the_grace_time_is_finished_and_not_repeated[sqlite]",
                ),
            ),
        ),
    ),
    Promise(
        title="Every wait of a caller has a deadline",
        text="Connect, publish, confirm, result: each fails in its time with an error that says what to do.",
        mutants=(
            Mutant(
                breaks="RabbitMQ: a publish waits for ever",
                file=_PUBLISHER,
                old="        self._deadlines.watch(deadline)\n",
                new="",
                tests=(
                    f"{_PUBLISHER_TESTS}::test_without_a_connection_the_deadline_says_why_and_nothing_is_sent_later",
                ),
            ),
            Mutant(
                breaks="a result is waited for without an end",
                file="taskq/client/replies.py",
                old="        self._replies.limits.begin(self, left_s)\n",
                new="",
                tests=("tests/unit/test_client.py::test_however_a_call_ends_nobody_waits_any_more",),
            ),
        ),
    ),
    Promise(
        title="A lost connection heals itself",
        text="Consumers, topology and waiting results come back without a restart; a delivery of a dead channel "
        "settles to nothing and is delivered again. Ends and resets are noticed at once, a black hole within twice the "
        "heartbeat.",
        mutants=(
            Mutant(
                breaks="a consumer does not come back",
                file="taskq/broker/amqp/consumer.py",
                old="        self._feed.leave()\n        self._broken.set()\n",
                new="        self._feed.leave()\n",
                tests=(f"{_CONSUMER_TESTS}::test_after_a_lost_connection_it_consumes_again_on_the_next",),
            ),
            Mutant(
                breaks="a delivery of a dead channel is settled as if it were ours",
                file="taskq/broker/amqp/delivery.py",
                old="        if self.channel.over:\n            return self._lose(keep_slot)\n        if not",
                new="        if not",
                tests=(
                    f"{_CONSUMER_TESTS}::test_a_delivery_of_a_lost_channel_settles_to_nothing_and_publishes_no_more",
                ),
            ),
            Mutant(
                breaks="a black hole is noticed ten times as late",
                file="taskq/broker/amqp/link.py",
                old="        self._silence_s = _SILENCE * heartbeat_s\n",
                new="        self._silence_s = 10 * _SILENCE * heartbeat_s\n",
                tests=("tests/integration/test_connections.py::test_a_black_hole_is_noticed_within_two_heartbeats",),
            ),
            Mutant(
                breaks="SQLite: a settle does not ask whose the message is now",
                file="taskq/broker/sqlite/held.py",
                old='_SETTLE_ONE = "DELETE FROM message WHERE id = ? AND claim = ?"',
                new='_SETTLE_ONE = "DELETE FROM message WHERE id = ? AND ? IS NOT NULL"',
                tests=(
                    "tests/unit/test_sqlite_processes.py"
                    "::test_a_process_that_was_paused_past_its_lease_has_lost_its_delivery_and_goes_on",
                ),
            ),
        ),
    ),
    Promise(
        title="A caller whose connection drops still gets its result",
        text="When it is back, within the reply queue's life and while the node that hosts it lives.",
        mutants=(
            Mutant(
                breaks="the reply queue is not read again",
                file="taskq/broker/amqp/replyqueue.py",
                old="            self._broker.emit(ConsumerInterrupted(queue=self.name, reason=reason))\n"
                "        self._broken.set()\n",
                new="            self._broker.emit(ConsumerInterrupted(queue=self.name, reason=reason))\n",
                tests=(
                    "tests/unit/broker/amqp/test_inbox.py::test_it_comes_back_on_the_next_connection_under_its_name",
                ),
            ),
        ),
    ),
    Promise(
        title="Late, repeated and unknown replies are dropped and counted",
        text="They are never an error.",
        mutants=(
            Mutant(
                breaks="a reply that nobody waits for is an error",
                file="taskq/client/replies.py",
                old='        pending = self._pending.pop(message.correlation_id or "", None)\n',
                new='        pending = self._pending.pop(message.correlation_id or "")\n',
                tests=("tests/unit/test_client.py::test_late_repeated_and_unknown_replies_are_dropped_and_counted",),
            ),
        ),
    ),
    Promise(
        title="No order",
        text="No order is promised between jobs once one of them is retried, delayed or handed back; there is nothing "
        "to break.",
    ),
)
