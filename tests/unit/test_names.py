"""Names of reply queues and subscriptions: nobody can guess them."""

import os
import random
import subprocess
import sys
import uuid
from collections.abc import Callable

import pytest

from taskq.broker.names import REPLY_PREFIX, SUBSCRIPTION_PREFIX, new_reply_queue, new_subscription_queue

MANY = 500
TELL = (
    "import random; random.seed(1)\n"
    "from taskq.broker.names import new_reply_queue, new_subscription_queue\n"
    "print(new_reply_queue(), new_subscription_queue())"
)

both = pytest.mark.parametrize(
    ("new", "prefix"), [(new_reply_queue, REPLY_PREFIX), (new_subscription_queue, SUBSCRIPTION_PREFIX)]
)


def chance_of(name: str, prefix: str) -> uuid.UUID:
    assert name.startswith(prefix)
    return uuid.UUID(name.removeprefix(prefix))


@both
def test_every_bit_that_is_not_fixed_by_the_kind_of_uuid_is_left_to_chance(new: Callable[[], str], prefix: str) -> None:
    ids = [chance_of(new(), prefix) for _ in range(MANY)]
    assert {each.version for each in ids} == {4}
    assert len(set(ids)) == MANY
    varying = sum({each.int >> bit & 1 for each in ids} == {0, 1} for bit in range(128))
    assert varying == 122


@both
def test_the_chance_is_the_systems_and_no_generator_that_can_be_seeded(
    new: Callable[[], str], prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(1)
    first = new()
    random.seed(1)
    assert new() != first
    # The one source that is left, tapped: what it gives is the name.
    monkeypatch.setattr(os, "urandom", lambda count: b"\xab" * count)
    assert chance_of(new(), prefix) == uuid.UUID(bytes=b"\xab" * 16, version=4)


def test_two_processes_with_the_same_seed_have_other_names() -> None:
    said = [subprocess.run([sys.executable, "-c", TELL], check=True, capture_output=True).stdout for _ in range(2)]
    assert said[0] != said[1]
