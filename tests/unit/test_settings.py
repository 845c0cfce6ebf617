"""Argument > environment > default, and an error that names each value at fault."""

import os
from datetime import timedelta
from typing import Any

import pytest

from taskq import UsageError
from taskq.settings import LogFormat, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("TASKQ_")]:
        monkeypatch.delenv(name)


def test_defaults_are_those_of_the_documentation() -> None:
    settings = load_settings({})
    assert settings.model_dump() == {
        "url": "sqlite:///taskq.db",
        "timeout": 900.0,
        "concurrency": 1,
        "grace": 30.0,
        "publish_timeout": 15.0,
        "reply_timeout": 60.0,
        "connect_timeout": 10.0,
        "heartbeat": 15,
        "ack_timeout": 1800.0,
        "management_url": "",
        "max_message_bytes": 1_048_576,
        "log_format": LogFormat.AUTO,
        "log_level": "INFO",
    }
    assert settings.by_default


def test_argument_goes_before_the_environment_which_goes_before_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_URL", "memory://")
    monkeypatch.setenv("TASKQ_GRACE", "5")
    monkeypatch.setenv("TASKQ_LOG_FORMAT", "json")
    settings = load_settings({"grace": 7})
    assert (settings.url, settings.grace, settings.concurrency) == ("memory://", 7.0, 1)
    assert settings.log_format is LogFormat.JSON
    assert not settings.by_default


@pytest.mark.parametrize("level", ["debug", "Debug", "DEBUG"])
def test_log_level_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("TASKQ_LOG_LEVEL", level)
    assert load_settings({}).log_level == "DEBUG"
    assert load_settings({"log_level": level}).log_level == "DEBUG"


def test_duration_may_be_given_as_a_timedelta() -> None:
    settings = load_settings({"timeout": timedelta(minutes=5), "grace": timedelta(0), "reply_timeout": 2.5})
    assert (settings.timeout, settings.grace, settings.reply_timeout) == (300.0, 0.0, 2.5)
    with pytest.raises(UsageError, match="TASKQ_TIMEOUT"):
        load_settings({"timeout": timedelta(0)})


def test_url_given_as_argument_is_not_the_default_even_if_it_is_the_same() -> None:
    assert not load_settings({"url": "sqlite:///taskq.db"}).by_default


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_URL", "")
    assert load_settings({}).by_default


def test_name_of_a_variable_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("taskq_grace", "5")
    monkeypatch.setenv("Taskq_Url", "memory://")
    settings = load_settings({})
    assert (settings.grace, settings.url, settings.by_default) == (5.0, "memory://", False)


def test_variables_of_other_things_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKQ_APP", "shop:app")
    load_settings({})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TASKQ_CONCURRENCY", "0"),
        ("TASKQ_CONCURRENCY", "many"),
        ("TASKQ_CONCURRENCY", "1.5"),
        ("TASKQ_TIMEOUT", "0"),
        ("TASKQ_TIMEOUT", "inf"),
        ("TASKQ_TIMEOUT", "nan"),
        ("TASKQ_REPLY_TIMEOUT", "-1"),
        ("TASKQ_GRACE", "-1"),
        ("TASKQ_MAX_MESSAGE_BYTES", "10"),
        ("TASKQ_LOG_FORMAT", "xml"),
        ("TASKQ_LOG_LEVEL", "LOUD"),
    ],
)
def test_bad_variable_is_named_with_what_it_holds(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError) as caught:
        load_settings({})
    assert name in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_bad_values_are_named_at_once_and_unknown_settings_too() -> None:
    wrong: Any = {"grace": -1, "timeout": "soon", "colour": "red"}
    with pytest.raises(UsageError) as caught:
        load_settings(wrong)
    assert all(name in str(caught.value) for name in ("grace", "timeout", "colour"))


def test_settings_cannot_be_changed() -> None:
    settings: Any = load_settings({})
    with pytest.raises(ValueError, match="frozen"):
        settings.grace = 1
