"""Telling the app from the words after it."""

import pytest

from taskq.cli.complaint import Complaint
from taskq.cli.words import Form, split

SEND = Form(("TASK",), ("JSON",))
RETRY = Form(("QUEUE",), ("JOB_ID…",))


@pytest.mark.parametrize(
    ("words", "default", "expected"),
    [
        (["shop:app", "resize"], None, ("shop:app", ("resize",))),
        (["shop:app", "resize", "{}"], None, ("shop:app", ("resize", "{}"))),
        (["shop", "resize"], None, ("shop", ("resize",))),
        (["resize"], "shop:app", ("shop:app", ("resize",))),
        (["resize", '{"url": "a:b"}'], "shop:app", ("shop:app", ("resize", '{"url": "a:b"}'))),
        (["other:app", "resize"], "shop:app", ("other:app", ("resize",))),
        (["other:app", "resize", "{}"], "shop:app", ("other:app", ("resize", "{}"))),
        (["other", "resize", "{}"], "shop:app", ("other", ("resize", "{}"))),
        # a task whose name looks like an app
        (["images:resize", "{}"], "shop:app", ("shop:app", ("images:resize", "{}"))),
    ],
)
def test_the_app_is_told_from_the_task(
    words: list[str], default: str | None, expected: tuple[str, tuple[str, ...]]
) -> None:
    assert split(words, SEND, default) == expected


@pytest.mark.parametrize(
    ("words", "default", "expected"),
    [
        (["shop:app", "images"], None, ("shop:app", ("images",))),
        (["images", "one", "two"], "shop:app", ("shop:app", ("images", "one", "two"))),
        (["other:app", "images", "one", "two"], "shop:app", ("other:app", ("images", "one", "two"))),
    ],
)
def test_any_number_of_words_may_follow_the_app(
    words: list[str], default: str | None, expected: tuple[str, tuple[str, ...]]
) -> None:
    assert split(words, RETRY, default) == expected


@pytest.mark.parametrize(
    ("words", "default", "text"),
    [
        ([], None, "no app"),
        (["resize", "{}"], None, "no app"),
        (["shop:app"], None, "TASK is missing"),
        ([], "shop:app", "TASK is missing"),
        (["shop:app", "resize", "{}", "more"], None, "'more' is one argument too many"),
        (["shop:app", "resize", "{}", "more"], "shop:app", "'more' is one argument too many"),
    ],
)
def test_too_few_or_too_many_words_say_what_to_write(words: list[str], default: str | None, text: str) -> None:
    with pytest.raises(Complaint, match=text):
        split(words, SEND, default)


def test_the_usage_line_puts_in_brackets_what_may_be_left_out() -> None:
    assert SEND.usage == "[MODULE:APP] TASK [JSON] [OPTIONS]"
    assert RETRY.usage == "[MODULE:APP] QUEUE [JOB_ID…] [OPTIONS]"
