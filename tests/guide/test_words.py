"""Links lead somewhere, and nothing public is left out."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

import taskq
import taskq.lifecycle
import taskq.testing
from taskq.errors import TaskqError
from taskq.wire import headers
from taskq.wire.dead import DeadReason
from tests.guide.page import ROOT

TEXTS = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in [
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]
}
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.M | re.S)
_CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.M | re.S)
_HEADING = re.compile(r"^#{1,6} (.+)$", re.M)


def links() -> Iterator[tuple[str, str]]:
    for name, text in TEXTS.items():
        for target in _LINK.findall(_FENCED.sub("", text)):
            if "://" not in target:
                yield name, target


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = (found.lower() for found in _HEADING.findall(_FENCED.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in headings}


def leads_nowhere(name: str, target: str) -> bool:
    path, _, anchor = target.partition("#")
    found = (ROOT / name).parent / path if path else ROOT / name
    if not found.exists():
        return True
    return bool(anchor) and anchor not in anchors(found.read_text("utf-8"))


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    found = list(links())
    assert len(found) > 50
    assert [f"{name}: {target}" for name, target in found if leads_nowhere(name, target)] == []


@pytest.mark.parametrize("target", ["docs/nothing.md", "docs/brokers.md#nothing", "#nothing"])
def test_a_link_that_leads_nowhere_is_found(target: str) -> None:
    assert leads_nowhere("README.md", target)


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = {"README.md"}, ["README.md"]
    while waiting:
        name = waiting.pop()
        for source, target in links():
            path = ((ROOT / source).parent / target.partition("#")[0]).resolve()
            page = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
            if source == name and page in TEXTS and page not in reached:
                reached.add(page)
                waiting.append(page)
    assert set(TEXTS) - reached == set()


def test_a_name_that_stands_in_prose_alone_is_found_missing() -> None:
    assert in_code("Retry", "raise `Retry(after=5)` now")
    assert not in_code("Retry", "Retry it with `RetryPolicy`.")


def test_every_scenery_belongs_to_a_page() -> None:
    sceneries = sorted(path.stem for path in (ROOT / "tests" / "guide" / "scenery").iterdir())
    assert sceneries
    assert [name for name in sceneries if f"{name.replace('.', '/')}.md" not in TEXTS] == []


def in_code(name: str, text: str) -> bool:
    """Whether a name stands in code: between backticks or in a block."""
    return any(re.search(rf"\b{re.escape(name)}\b", code) for code in _CODE.findall(text))


def names() -> list[str]:
    roots = {"Event", "JobEvent", "ExecutionEvent", "ExecutionEnded", "BrokerEvent"}
    kinds = {
        n for n, v in vars(taskq.lifecycle).items() if isinstance(v, type) and issubclass(v, taskq.lifecycle.Event)
    }
    events = kinds - roots
    return [*taskq.__all__, *taskq.testing.__all__, *events, *map(str, DeadReason)]


@pytest.mark.parametrize("name", sorted({name for name in names() if not name.startswith("__")}))
def test_every_public_name_stands_in_the_documentation(name: str) -> None:
    assert [page for page, text in TEXTS.items() if in_code(name, text)] != [], f"{name} is mentioned nowhere"


def test_every_header_stands_in_the_wire_format() -> None:
    page = TEXTS["docs/reference/wire.md"]
    ours = [v for v in vars(headers).values() if isinstance(v, str) and v.startswith("taskq-") and v != "taskq-"]
    short = {"taskq-error-message": "`-message`", "taskq-error-traceback": "`-traceback`"}
    assert len(ours) > 10
    assert {name for name in ours if short.get(name, f"`{name}`") not in page} == set()


def test_every_error_stands_in_the_table_of_errors() -> None:
    page = TEXTS["docs/reference/errors.md"]
    branches = {"TaskqError", "WireError", "BrokerError"}
    errors = [n for n, v in vars(taskq).items() if isinstance(v, type) and issubclass(v, TaskqError)]
    rows = set(
        re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| ")))
    )
    assert set(errors) - branches - rows == set()
