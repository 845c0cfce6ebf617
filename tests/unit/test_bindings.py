"""Which bindings are stale."""

from taskq.inspection.bindings import stale_bindings
from taskq.tasks.exchanges import Binding


def to(queue: str, key: str = "", exchange: str = "orders") -> Binding:
    return Binding(exchange=exchange, queue=queue, key=key)


def test_a_binding_of_a_declared_queue_that_is_not_declared_is_stale() -> None:
    declared = [to("mail", "order.paid"), to("mail", "order.sent")]
    assert stale_bindings([to("mail", "order.*"), *declared, to("mail", "order.paid", "old")], declared) == [
        to("mail", "order.*"),
        to("mail", "order.paid", "old"),
    ]


def test_queues_that_are_not_declared_are_left_alone() -> None:
    assert stale_bindings([to("theirs", "#")], [to("mail", "#")]) == []
    assert stale_bindings([to("theirs", "#")], []) == []


def test_bindings_of_the_default_exchange_and_of_the_ladder_are_never_stale() -> None:
    present = [to("mail", "mail", ""), to("mail", "*.*.mail", "taskq.delay.50x28.out")]
    assert stale_bindings(present, [to("mail", "#")]) == []


def test_headers_and_how_they_match_are_part_of_a_binding() -> None:
    def pdf(match: str = "all", **headers: int) -> Binding:
        return Binding(exchange="files", queue="mail", headers={"type": "pdf", **headers}, match=match)  # type: ignore[arg-type]

    assert stale_bindings([pdf(), pdf("any"), pdf(size=1)], [pdf()]) == [pdf("any"), pdf(size=1)]


def test_without_headers_it_does_not_matter_how_they_would_match() -> None:
    assert stale_bindings([to("mail")], [Binding(exchange="orders", queue="mail", match="any")]) == []
