"""The URL of an embedded broker."""

from pathlib import Path

import pytest

from taskq.broker.sqlite.location import read_location
from taskq.errors import UsageError


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///taskq.db", Path.cwd() / "taskq.db"),
        ("sqlite:///data/taskq.db", Path.cwd() / "data" / "taskq.db"),
        ("sqlite:////var/lib/taskq.db", Path("/var/lib/taskq.db")),
        ("sqlite:////var/a%20b%3F.db", Path("/var/a b?.db")),
    ],
)
def test_a_file_is_named_relative_with_three_slashes_and_absolute_with_four(url: str, path: Path) -> None:
    assert read_location(url).path == path


def test_the_label_is_absolute_and_can_be_read_again() -> None:
    location = read_location("sqlite:///a%20b%3F.db")
    assert location.label == f"sqlite:///{Path.cwd()}/a%20b%3F.db"
    assert read_location(location.label) == location


@pytest.mark.parametrize(
    ("url", "synchronous"),
    [
        ("sqlite:///a.db", "full"),
        ("sqlite:///a.db?synchronous=full", "full"),
        ("sqlite:///a.db?synchronous=normal", "normal"),
    ],
)
def test_how_often_a_file_is_flushed_can_be_chosen_and_its_label_says_so(url: str, synchronous: str) -> None:
    location = read_location(url)
    assert (location.path, location.synchronous) == (Path.cwd() / "a.db", synchronous)
    assert location.label.endswith("?synchronous=normal") == (synchronous == "normal")
    assert read_location(location.label) == location


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///a.db?synchronous=off",
        "sqlite:///a.db?synchronous",
        "sqlite:///a.db?x=1",
        "memory://?synchronous=normal",
        "sqlite:///a.db?synchronous=normal&x=1",
        "sqlite:///a.db#x",
    ],
)
def test_nothing_else_stands_behind_the_name_of_a_file(url: str) -> None:
    with pytest.raises(UsageError, match=r"%3F"):
        read_location(url)


@pytest.mark.parametrize("url", ["memory://", "memory://name"])
def test_memory_has_no_path(url: str) -> None:
    assert (read_location(url).path, read_location(url).label) == (None, url)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "sqlite://taskq.db", "sqlite:taskq.db?x=1", "postgres:///x", "taskq.db"]
)
def test_anything_else_is_refused_with_the_way_to_write_it(url: str) -> None:
    with pytest.raises(UsageError, match="broker URL"):
        read_location(url)
