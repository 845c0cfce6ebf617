"""Dockerfiles and .dockerignore files, read: as much of their syntax as this project's own files use. Pure."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import cast

_STAGE = re.compile(r"(?P<base>\S+)(?:\s+AS\s+(?P<name>\S+))?$", re.IGNORECASE)


@dataclass(frozen=True)
class Instruction:
    """One instruction: its flags (`--from=build`) and what follows them."""

    name: str
    flags: dict[str, str]
    text: str

    @property
    def words(self) -> list[str]:
        """The words of the exec form, or those that a shell would see."""
        return shlex.split(self.text) if self.exec_form is None else self.exec_form

    @property
    def exec_form(self) -> list[str] | None:
        """The words of the exec form; `None` in shell form."""
        try:
            words: object = json.loads(self.text)
        except ValueError:
            return None
        return cast("list[str]", words) if isinstance(words, list) else None


@dataclass(frozen=True)
class Stage:
    """What one `FROM` begins."""

    base: str
    name: str | None
    instructions: tuple[Instruction, ...]

    def all(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]

    def last(self, name: str) -> Instruction | None:
        """The one that counts where later ones replace earlier ones."""
        return next(reversed(self.all(name)), None)

    @property
    def environment(self) -> dict[str, str]:
        pairs = (word.partition("=") for each in self.all("ENV") for word in shlex.split(each.text))
        return {name: value for name, _, value in pairs}


def read_dockerfile(text: str) -> list[Stage]:
    """Read the stages of a Dockerfile."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[Stage] = []
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if not line.strip():
            continue
        instruction = _instruction(line)
        if instruction.name == "FROM":
            found = _STAGE.match(instruction.text)
            assert found, line
            stages.append(Stage(found["base"], found["name"], ()))
        else:
            last = stages.pop()
            stages.append(Stage(last.base, last.name, (*last.instructions, instruction)))
    return stages


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    flags: dict[str, str] = {}
    while found := re.match(r"\s*--([a-z-]+)=(\S+)\s+", rest):
        flags[found[1]] = found[2]
        rest = rest[found.end() :]
    inner = re.match(r"CMD\s+", rest) if name.upper() == "HEALTHCHECK" else None
    return Instruction(name.upper(), flags, rest[inner.end() :].strip() if inner else rest.strip())


def is_let_through(ignore: str, path: str) -> bool:
    """Whether a .dockerignore lets a file into the build: the last pattern that meets it or a folder above counts."""
    parts = path.split("/")
    levels = ["/".join(parts[: count + 1]) for count in range(len(parts))]
    kept = True
    for line in map(str.strip, ignore.splitlines()):
        pattern = line.removeprefix("!").strip("/")
        if pattern and not line.startswith("#") and any(_expression(pattern).fullmatch(level) for level in levels):
            kept = line.startswith("!")
    return kept


def _expression(pattern: str) -> re.Pattern[str]:
    pieces = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(pieces.get(piece, re.escape(piece)) for piece in re.findall(r"\*\*/|\*\*|.", pattern)))
