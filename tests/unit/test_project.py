"""What holds for the repository as a whole: what no file may say, and how long a file may be."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LONGEST = 300

# path of a file in taskq/ above LONGEST lines: the reason why it is one file
LONG_FILES: dict[str, str] = {
    "taskq/lifecycle.py": "the one list of all events: short classes, to be read in one place",
}

# Put together from pieces, so that this file does not contain what it looks for.
REGISTRY_HOSTS = [
    ".".join(host.split()) for host in ("pypi org", "pythonhosted org", "npmjs org", "npmjs com", "deb debian org")
]
MACHINE_PATH = re.compile(r"(?<![\w.~}-])/(?:" + "|".join(["work", "root", "farm"]) + r")(?:/|\b(?![\w.-]))")
FOREIGN_INSTALL = re.compile(
    r"\b(?:pip3?|pipx|uv|uvx|poetry|pdm)\s+(?:install|add)(?:\s+-\S+)*\s+[\"'`]?taskq(?![\w-])", re.IGNORECASE
)

Finder = Callable[[str], str | None]


def registry_host(text: str) -> str | None:
    """The first host of a package registry that the text names."""
    return next((host for host in REGISTRY_HOSTS if host in text.lower()), None)


def machine_path(text: str) -> str | None:
    """The first path that exists on somebody's machine only."""
    found = MACHINE_PATH.search(text)
    return found and found.group()


def foreign_install(text: str) -> str | None:
    """The first command that would install somebody else's distribution of our name."""
    found = FOREIGN_INSTALL.search(text)
    return found and found.group()


def project_files() -> list[Path]:
    """What git tracks, and what it would track with the next `git add`."""
    # safe.directory: a checkout that belongs to another user is still ours to read
    command = "git -c safe.directory=* ls-files -z --cached --others --exclude-standard"
    listed = subprocess.run(command.split(), cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(path for name in set(listed.split("\0")) if name and (path := ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    for path in project_files():
        yield path.relative_to(ROOT).as_posix(), path.read_bytes().decode("utf-8", "replace")


def test_the_list_of_files_is_that_of_this_repository() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in project_files()}
    assert {"pyproject.toml", "taskq/py.typed", "tests/unit/test_project.py"} <= names


@pytest.mark.parametrize("find", [registry_host, machine_path, foreign_install])
def test_no_file_says_what_no_file_may_say(find: Finder) -> None:
    assert [f"{name}: {found}" for name, text in texts() if (found := find(text))] == []


@pytest.mark.parametrize(
    ("find", "text"),
    [
        (registry_host, "see https://{}/project/x".format("PyPI" + ".org")),
        (registry_host, "files." + "pythonhosted" + ".org"),
        (machine_path, "cd " + "/" + "work/main"),
        (machine_path, "`/" + "root`"),
        (machine_path, "sqlite:////" + "farm/taskq.db"),
        (foreign_install, "$ pip install " + "taskq"),
        (foreign_install, "python -m pip install -U --pre '" + "taskq[dev]'"),
        (foreign_install, "uv add " + "taskq==1.0"),
    ],
)
def test_planted_words_are_found(find: Finder, text: str) -> None:
    assert find(text)


@pytest.mark.parametrize(
    ("find", "text"),
    [
        (machine_path, "docs/work/plan.md, ~/work/x, https://example.com/work/, https://example.com/root"),
        (machine_path, "/workers/demo.py and /roots"),
        (foreign_install, "pip install taskq-asyncio, then run taskq"),
        (foreign_install, "pip install -e ."),
    ],
)
def test_words_that_are_alike_are_left_alone(find: Finder, text: str) -> None:
    assert find(text) is None


def lengths() -> dict[str, int]:
    """Lines of each file of the library."""
    return {name: text.count("\n") for name, text in texts() if name.startswith("taskq/")}


def test_no_file_of_the_library_is_long_without_its_reason() -> None:
    long = {name: lines for name, lines in lengths().items() if lines > LONGEST and not LONG_FILES.get(name)}
    assert long == {}


def test_a_reason_to_be_long_goes_when_the_file_is_short_again() -> None:
    assert [name for name in LONG_FILES if lengths().get(name, 0) <= LONGEST] == []
