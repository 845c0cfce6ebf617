"""The table of settings is that of the program."""

from __future__ import annotations

import re
from typing import get_type_hints

from taskq.settings import PREFIX, SettingArguments, Settings
from tests.guide.page import ROOT

_ROW = re.compile(
    r"^\| `(?P<argument>\w+)` \| `(?P<environment>\w+)` \| (?:`(?P<default>[^`]+)`|–) \| (?P<unit>[^|]+) \|", re.M
)


def rows() -> list[dict[str, str]]:
    return [
        found.groupdict(default="") for found in _ROW.finditer((ROOT / "docs/reference/settings.md").read_text("utf-8"))
    ]


def test_the_table_has_each_setting_once_and_in_order() -> None:
    assert [row["argument"] for row in rows()] == list(Settings.model_fields)


def test_each_setting_is_an_argument_of_the_app() -> None:
    assert list(get_type_hints(SettingArguments)) == list(Settings.model_fields)


def test_the_table_names_the_environment_as_it_is_read() -> None:
    assert {row["argument"]: row["environment"] for row in rows()} == {
        name: f"{PREFIX}{name.upper()}" for name in Settings.model_fields
    }


def test_the_table_gives_the_defaults() -> None:
    real = {name: field.default for name, field in Settings.model_fields.items()}
    shown = {row["argument"]: row["default"] for row in rows()}
    assert {name: str(value) if isinstance(value, str) else f"{value:g}" for name, value in real.items()} == {
        name: f"{float(value):g}" if value.replace(".", "").isdigit() else value for name, value in shown.items()
    }


def test_durations_have_a_unit() -> None:
    units = {row["argument"]: row["unit"].strip() for row in rows()}
    numbers = [name for name, field in Settings.model_fields.items() if isinstance(field.default, float)]
    assert {units[name] for name in numbers} == {"seconds"}
    assert units["max_message_bytes"] == "bytes"
