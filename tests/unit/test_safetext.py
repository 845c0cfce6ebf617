"""Text that others wrote: it cannot forge a line or steer a terminal, in whatever a program of ours shows it."""

from __future__ import annotations

import io
import json
import logging
import re
import sys

import pytest

from taskq import UnknownTask
from taskq import lifecycle as life
from taskq.cli import complaint
from taskq.cli.letters import as_json, show_letter
from taskq.cli.table import show_json, show_table
from taskq.observability.lines import line_for
from taskq.observability.logs import subscribe
from taskq.observability.safetext import one_line, printable, printable_json
from taskq.wire.dead import DeadReason, new_dead_letter, read_dead_letter
from taskq.wire.failure import Failure
from taskq.wire.job import new_job
from taskq.wire.message import Message

ESC, C1, BIDI, HALF, TAG = "\x1b[2J", "\x9b31m", "\u202egnp.exe\u2066", "\ud800", "\U000e0041"
EVIL = f"x\n2025-01-01 ERROR forged\r{ESC}{C1}{BIDI}\u2028\u2029\x85\x0b\x00\x7f{HALF}{TAG}end"


def harmless(text: str) -> None:
    """Assert that a terminal shows the text as it is."""
    assert [character for character in text if not character.isprintable() and character != "\n"] == []


def test_text_of_people_is_shown_as_it_is() -> None:
    text = "Grüße, 世界 😀 × ’…–"
    assert (printable(text), one_line(text), printable_json(text)) == (text, text, text)


def test_whatever_steers_a_terminal_is_shown_as_an_escape() -> None:
    assert one_line(f"a{ESC}b\rc\u202ed\nee\x85") == "a\\x1b[2Jb\\rc\\u202ed\\nee\\x85"
    assert printable("a\rb\nc") == "a\\rb\n    c"
    for show in (printable, one_line, printable_json):
        harmless(show(EVIL))
        show(EVIL).encode()


def test_json_is_the_same_value_whatever_stands_in_its_texts() -> None:
    value = {"a": EVIL.replace(HALF, ""), EVIL: [EVIL]}
    shown = printable_json(json.dumps(value, ensure_ascii=False, indent=2))
    harmless(shown)
    assert json.loads(shown) == value


@pytest.fixture
def letter() -> Message:
    """A dead letter that is hostile in every place."""
    job = new_job(
        task=EVIL, job_id="job", queue=EVIL, body=json.dumps({"a": EVIL}).encode(), now=1.7e9, headers={EVIL: EVIL}
    )
    dead = new_dead_letter(
        job._replace(reply_to=EVIL, content_type=EVIL, content_encoding=EVIL, app_id=EVIL),
        job_id="job",
        queue=EVIL,
        reason=DeadReason.FAILED,
        failure=Failure(EVIL, EVIL, EVIL),
        attempt=1,
        execution=1,
        now=1.7e9,
    )
    return dead._replace(
        headers={**dead.headers, "taskq-dead-reason": EVIL, "numbers": [float("nan")], "bytes": b"\x1b"}
    )


def test_a_dead_letter_shows_no_line_that_it_forged(letter: Message, capsys: pytest.CaptureFixture[str]) -> None:
    show_letter(read_dead_letter(letter, "work"))
    shown = capsys.readouterr().out
    harmless(shown)
    names = [line.split()[0] for line in shown.splitlines() if not line.startswith(" ")]
    assert names == [
        *("job", "task", "queue", "reason", "error", "attempts", "enqueued", "died"),
        *("body", "properties", "headers", "traceback"),
    ]
    block = shown.split("\nheaders\n")[1].split("\ntraceback\n")[0]
    assert len(block.splitlines()) == len([name for name in letter.headers if "error-" not in name]), block


def test_a_dead_letter_as_json_can_be_read_by_programs_and_on_a_terminal(
    letter: Message, capsys: pytest.CaptureFixture[str]
) -> None:
    show_json(as_json(read_dead_letter(letter, "work"), whole=True))
    shown = capsys.readouterr().out
    harmless(shown)
    shown.encode()
    read = json.loads(shown, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert read["headers"]["numbers"] == ["nan"]
    assert read["body"]["a"] == EVIL


@pytest.mark.parametrize(
    ("body", "key"),
    [
        (b"[" * 5000 + b"]" * 5000, "body_text"),
        (b'{"a":NaN}', "body_text"),
        (b'{"a":1e999}', "body_text"),
        (b"9" * 5000, "body_text"),
        (b"\xff", "body_base64"),
        (b'{"a":1}', "body"),
    ],
)
def test_any_body_can_be_shown(body: bytes, key: str, capsys: pytest.CaptureFixture[str]) -> None:
    read = read_dead_letter(Message(body=body, message_id="m"), "work")
    show_json(as_json(read, whole=True))
    assert key in json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    show_letter(read)
    harmless(capsys.readouterr().out)


def test_a_body_of_as_many_levels_as_can_just_be_read_can_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    keys = set[str]()
    for levels in (100, *range(800, 1000, 20), 5000):
        read = read_dead_letter(Message(body=b"[" * levels + b"]" * levels, message_id="m"), "work")
        found = as_json(read, whole=True)
        show_json(found)
        show_letter(read)
        keys |= found.keys() & {"body", "body_text"}
    capsys.readouterr()
    assert keys == {"body", "body_text"}, "one of each"


@pytest.mark.parametrize("tty", [False, True])
def test_a_table_shows_no_row_that_was_forged(
    tty: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: tty)
    show_table(["job", "error"], [["1", "fine"], ["2", f"[red]{EVIL}[/red] :bomb:"], ["3", "fine"]], wide=1)
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)  # how rich makes the heading bold
    harmless(shown)
    assert len([line for line in shown.splitlines() if line.strip(" ─")]) == 4
    assert "[red]" in shown, "it is no markup"
    assert ":bomb:" in shown


def test_a_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for text in (EVIL, UnknownTask(EVIL, [EVIL]), ValueError(EVIL)):
        complaint.say(text)
        said = capsys.readouterr().err
        harmless(said)
        assert said.count("\n") == 1


@pytest.mark.parametrize(
    "event", [life.ReplyDropped(correlation_id=EVIL, reason=EVIL), life.LoopBlocked(seconds=1, stack=EVIL)]
)
def test_the_lines_of_a_program_with_a_log_of_its_own_are_safe_too(event: life.Event) -> None:
    plain, log = io.StringIO(), logging.getLogger("taskq")
    handler = logging.StreamHandler(plain)  # as `logging.basicConfig` makes it
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    emitter = life.Emitter()
    subscribe(emitter)
    try:
        emitter.emit(event)
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
    first, *others = plain.getvalue().rstrip("\n").split("\n")
    harmless(plain.getvalue())
    assert "ERROR forged" not in first or first.startswith("a reply was dropped")
    assert all(line.startswith("    ") for line in others)


def test_a_name_stands_in_one_line_and_a_traceback_is_indented() -> None:
    event = life.JobDead(
        job_id="1",
        task=EVIL,
        queue="work",
        attempt=1,
        execution=1,
        duration_s=0.1,
        reason="failed",
        error="E",
        traceback=f"Traceback\n{EVIL}",
    )
    text = line_for(event).text
    head, *below = text.split("\n")
    harmless(text)
    assert head.endswith("[job 1]")
    assert len(below) == 3
    assert all(line.startswith("    ") for line in below)
