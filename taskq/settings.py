"""The settings of an app: one frozen value, built when the app opens. Argument > ``TASKQ_*`` environment > default.

The environment is read here, and not by ``pydantic-settings``: that library brings readers of files, of secret stores
and of command lines along, and every command and worker would wait for their import.
"""

from __future__ import annotations

import os
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, TypedDict

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from taskq.errors import UsageError
from taskq.tasks.duration import LONGEST_S, Duration

DEFAULT_URL = "sqlite:///taskq.db"
PREFIX = "TASKQ_"


def _in_seconds(value: object) -> object:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _in_capitals(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


_Time = Annotated[float, BeforeValidator(_in_seconds)]
Seconds = Annotated[_Time, Field(gt=0, le=LONGEST_S)]


class LogFormat(StrEnum):
    """How log lines look."""

    AUTO = "auto"
    HUMAN = "human"
    JSON = "json"


class SettingArguments(TypedDict, total=False):
    """Settings as keyword arguments of :class:`taskq.TaskQ`; :class:`Settings` describes each."""

    url: str
    timeout: Duration
    concurrency: int
    grace: Duration
    publish_timeout: Duration
    reply_timeout: Duration
    connect_timeout: Duration
    heartbeat: int
    ack_timeout: Duration
    management_url: str
    max_message_bytes: int
    log_format: LogFormat
    log_level: str


class Settings(BaseModel):
    """Every setting, with its environment name ``TASKQ_<NAME>``.

    Durations are seconds; as an argument, a ``timedelta`` too.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(DEFAULT_URL, description="the broker: sqlite:///file, memory://, amqp://")
    timeout: Seconds = Field(900.0, description="time limit of one attempt, where the task sets none")
    concurrency: int = Field(1, ge=1, le=65_535, description="jobs of one queue that a worker runs at a time")
    grace: _Time = Field(30.0, ge=0, le=86_400, description="how long running jobs may go on at a shutdown")
    publish_timeout: Seconds = Field(15.0, description="how long enqueue waits for the broker's confirmation")
    reply_timeout: Seconds = Field(60.0, description="how long call and submit wait for a result")
    connect_timeout: Seconds = Field(10.0, description="how long opening waits for the broker")
    heartbeat: int = Field(15, ge=1, le=600, description="RabbitMQ: a silent connection is given up within twice this")
    ack_timeout: Seconds = Field(1800.0, description="RabbitMQ's consumer_timeout; time limits of tasks lie below it")
    management_url: str = Field("", description="RabbitMQ's management API; empty: on the broker's hosts, port 15672")
    max_message_bytes: int = Field(1_048_576, ge=1_024, le=134_217_728, description="largest message, headers included")
    log_format: LogFormat = Field(LogFormat.AUTO, description="human on a terminal and json elsewhere, or one of both")
    log_level: Annotated[str, BeforeValidator(_in_capitals)] = Field(
        "INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="least level that is logged"
    )

    @property
    def by_default(self) -> bool:
        """Whether the broker's URL was set by nobody."""
        return "url" not in self.model_fields_set


def load_settings(arguments: SettingArguments) -> Settings:
    """Return the settings that hold now. Raises :class:`UsageError` that names each value at fault."""
    try:
        return Settings.model_validate({**_environment(), **arguments})
    except ValidationError as error:
        listed = "; ".join(
            f"{'.'.join(str(p) for p in e['loc'])} ({PREFIX}{str(e['loc'][0]).upper()}): {e['msg']}, got {e['input']!r}"
            for e in error.errors(include_url=False)
        )
        raise UsageError(f"settings: {listed}") from None


def _environment() -> dict[str, str]:
    """Return the settings that are in the environment, their names in any case. An empty variable is not set."""
    given = {name.upper(): value for name, value in os.environ.items() if value}
    return {name: given[key] for name in Settings.model_fields if (key := f"{PREFIX}{name.upper()}") in given}
