"""Telling the app from what follows it, where the app may be left out because TASKQ_APP names it. Pure."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from taskq.cli.complaint import Complaint

_PATH = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_WITH_ATTRIBUTE = re.compile(rf"{_PATH}:{_PATH}")


@dataclass(frozen=True, slots=True)
class Form:
    """The words that a command takes after the app. The last one of ``optional`` takes all further ones with ``…``."""

    wanted: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def most(self) -> int | None:
        """The highest number of words, or ``None`` for any number."""
        names = (*self.wanted, *self.optional)
        return None if names and names[-1].endswith("…") else len(names)

    @property
    def usage(self) -> str:
        """The usage line of the command, after its name."""
        return f"[MODULE:APP]{str(self).removeprefix('MODULE:APP')} [OPTIONS]"

    def __str__(self) -> str:
        return " ".join(["MODULE:APP", *self.wanted, *(f"[{name}]" for name in self.optional)])


def default_app() -> str | None:
    """Return the app that TASKQ_APP names, or ``None``."""
    return os.environ.get("TASKQ_APP") or None


def split(words: Sequence[str], form: Form, default: str | None) -> tuple[str, tuple[str, ...]]:
    """Divide a command's words into the app and those after it. ``default`` is TASKQ_APP.

    Without ``default`` the first word is the app. With it, the first word is the app when it looks like
    ``module:attribute`` and no JSON follows it, or when there is one word too many. Raises :class:`Complaint` for too
    few or too many words.
    """
    app, rest = _divide(list(words), form, default)
    hint = f"write {form}"
    if len(rest) < len(form.wanted):
        raise Complaint(
            f"{form.wanted[len(rest)].rstrip('…')} is missing: {hint}"
            + ("" if default else ", or set TASKQ_APP and leave MODULE:APP out")
        )
    if form.most is not None and len(rest) > form.most:
        raise Complaint(f"{rest[form.most]!r} is one argument too many: {hint}")
    return app, tuple(rest)


def optional_app(words: Sequence[str], default: str | None) -> str | None:
    """Return the app of a command that needs none: the only word, else TASKQ_APP, else ``None``."""
    return split(words, Form(), default)[0] if words or default else None


def looks_like_app(word: str) -> bool:
    """Say whether a word has the form ``module:attribute``."""
    return _WITH_ATTRIBUTE.fullmatch(word) is not None


def _divide(words: list[str], form: Form, default: str | None) -> tuple[str, list[str]]:
    json_follows = bool(form.wanted) and len(words) > 1 and words[1].lstrip().startswith("{")
    if default:
        too_many = form.most is not None and len(words) > form.most
        named = too_many or (bool(words) and looks_like_app(words[0]) and not json_follows)
        return (words[0], words[1:]) if named else (default, words)
    if not words or (json_follows and not looks_like_app(words[0])):
        raise Complaint(f"no app: write {form}, or set TASKQ_APP to module:app")
    return words[0], words[1:]
