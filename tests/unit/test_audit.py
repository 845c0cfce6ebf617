"""The audit of dependencies: what it looks at, and how it reads what pip-audit tells."""

import importlib.util
import json
import os
import zipfile
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conformance.stand import ROOT


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script, which is in no package."""
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_looks_at_all_that_taskq_needs_to_run_in_the_pinned_versions(audit: ModuleType) -> None:
    pins = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    packages = audit.installed()
    assert {"aio-pika", "aiormq", "pamqp", "pydantic", "pydantic-core", "typer", "yarl", "idna"} <= packages.keys()
    assert not {"pytest", "ruff", "httpx", "taskq-asyncio"} & packages.keys()
    assert packages == {name: pinned[name] for name in packages}
    assert all(version(name) == packages[name] for name in packages)


def report(**package: object) -> str:
    good = {"name": "good", "version": "1.0", "vulns": []}
    return json.dumps({"dependencies": [good, {"name": "other", **package}], "fixes": []})


def test_a_weakness_is_told_with_the_version_that_mends_it(audit: ModuleType) -> None:
    weak = {"id": "PYSEC-2026-1", "fix_versions": ["1.2", "2.0"], "aliases": [], "description": "text"}
    assert audit.read(report(version="1.1", vulns=[weak])) == ["other 1.1: PYSEC-2026-1, mended in 1.2, 2.0"]
    assert audit.read(report(version="1.1", vulns=[{**weak, "fix_versions": []}])) == [
        "other 1.1: PYSEC-2026-1, mended in no version"
    ]
    assert audit.read(report(version="1.1", vulns=[])) == []


def test_what_was_not_looked_at_is_never_called_good(audit: ModuleType) -> None:
    with pytest.raises(audit.Unknown, match="no advisories for other"):
        audit.read(report(skip_reason="Dependency not found and could not be audited: other (1.1)"))


def put_on_index(index: Path, name: str, attributes: str) -> None:
    """Put a release 1.0 on an index that is a folder, as PEP 503 has it."""
    folder = index / name
    folder.mkdir(parents=True)
    wheel = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    link = f'<a href="{wheel.name}" {attributes}>{wheel.name}</a>'
    (folder / "index.html").write_text(f"<!DOCTYPE html><html><body>{link}</body></html>")


def test_a_release_that_was_withdrawn_is_told(
    audit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_on_index(tmp_path, "taskq-test-good", "")
    put_on_index(tmp_path, "taskq-test-bad", 'data-yanked="it eats files"')
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", tmp_path.as_uri())
    told = audit.withdrawn({"taskq-test-good": "1.0", "taskq-test-bad": "1.0"})
    assert told == ["taskq-test-bad 1.0: it was withdrawn"]
    with pytest.raises(audit.Unknown, match="taskq-test-missing"):
        audit.withdrawn({"taskq-test-missing": "1.0"})
