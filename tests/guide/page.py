"""A page of the documentation as a list of its code blocks. Pure.

A block is run unless an HTML comment in front of it says otherwise. The comment is `<!-- guide: word=value … -->`, with
words of `MARKS` only, so that a slip of the pen is found.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("python", "console", "sh")  # languages of blocks that are run, or carry the mark `skip`
SHOWN = ("", "text", "json")  # languages of blocks that are only shown
MARKS = {
    "file": "the block is this file of the reader's folder; it is also imported",
    "harness": "runs inside `async with Harness(app)`, with the harness as `h`; the value names another app",
    "raises": "must raise this error; a comment `# Error: text` in the block is held against its text",
    "output": "what the python block before printed",
    "part": "the block is a part of this file of the repository, letter for letter",
    "background": "a command that goes on, under this name; its output is compared when it has ended",
    "until": "with `background`: it is ready when it has written this",
    "after": "`name:text` waits until the command of that name has written the text; several with `;`",
    "stop": "interrupts the command of this name first, as Ctrl-C does",
    "skip": "is not run, for this reason",
}

_BLOCK = re.compile(
    r"(?:^[ ]*<!--[ ]*guide:(?P<marks>.*?)-->[ ]*\n\s*?)?"
    r"^(?P<indent>[ ]*)```(?P<language>\w*)[ ]*\n(?P<text>.*?)^[ ]*```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
_COMMENT = re.compile(r"<!--\s*guide:")


class PageError(Exception):
    """A page that cannot be read as one: an unknown mark, or a mark without its block."""


@dataclass(frozen=True)
class Block:
    """One fenced block. ``place`` is ``page:line``."""

    place: str
    language: str
    text: str
    marks: Mapping[str, str]

    @property
    def is_program(self) -> bool:
        return self.language in RUN


@dataclass(frozen=True)
class Page:
    """A page. ``name`` is its path from the root of the repository."""

    name: str
    blocks: tuple[Block, ...]

    @property
    def skipped(self) -> list[str]:
        """The reasons of the blocks that are not run."""
        return [block.marks["skip"] for block in self.blocks if "skip" in block.marks]


def read_page(name: str, text: str) -> Page:
    """Read the text of a page. Raises :class:`PageError`."""
    blocks: list[Block] = []
    comments = 0
    for found in _BLOCK.finditer(text):
        place = f"{name}:{text.count(chr(10), 0, found.start('language')) + 1}"
        comments += found["marks"] is not None
        lines = [line.removeprefix(found["indent"]) for line in found["text"].splitlines()]
        body = "".join(f"{line}\n" for line in lines)
        if found["language"] not in (*RUN, *SHOWN):
            raise PageError(
                f"{place}: language {found['language']!r}; there are {', '.join(filter(None, RUN + SHOWN))}"
            )
        blocks.append(Block(place, found["language"], body, _marks(place, found["marks"] or "")))
    if comments != len(_COMMENT.findall(text)):
        raise PageError(f"{name}: a comment `guide:` does not stand in front of a block")
    return Page(name, tuple(blocks))


def _marks(place: str, text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in shlex.split(text))
    marks = {name: value for name, _, value in pairs}
    if unknown := sorted(set(marks) - set(MARKS)):
        raise PageError(f"{place}: unknown marks {', '.join(unknown)}")
    if "skip" in marks and len(marks["skip"]) < 10:
        raise PageError(f"{place}: `skip` needs its reason")
    return marks


def scenery_of(page: Page) -> Page | None:
    """Return the page that is played before ``page``, for a reference page that tells no story of its own."""
    name = page.name.removesuffix(".md").replace("/", ".")
    path = ROOT / "tests" / "guide" / "scenery" / f"{name}.md"
    return read_page(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) if path.exists() else None


def on_rabbitmq(page: Page) -> Page:
    """Return a page with its commands as a reader runs them on RabbitMQ: the variable in front, and no other change."""
    prompt = re.compile(r"^\$ ", re.MULTILINE)
    return replace(
        page,
        blocks=tuple(
            replace(block, text=prompt.sub("$ TASKQ_URL=amqp://localhost ", block.text))
            if block.language == "console"
            else block
            for block in page.blocks
        ),
    )


def all_pages() -> list[Page]:
    """The README, the changelog, and every page below docs/."""
    paths = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [read_page(path.relative_to(ROOT).as_posix(), path.read_text("utf-8")) for path in paths]
