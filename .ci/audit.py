"""Asks for known weaknesses in what taskq installs, in the versions that are installed here; `make audit` runs it.

The package index says by pip which releases were withdrawn ("yanked"), and by pip-audit which advisories there are;
pip-audit lives in a virtual environment of its own. Ends with 0 when nothing is known, 1 when something is, and 3 when
it could not ask about all of them: nobody answered, or the index at hand has no advisories, which a mirror may not.
pip-audit itself calls that "no known vulnerabilities"; here it is never said of what was not looked at.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = "taskq-asyncio"
TOOL = "pip-audit==2.10.1"
KNOWN, UNKNOWN = 1, 3
_LONGEST_S = 180
_YANKED = re.compile(r"yanked version: '([^']+)' candidate \(version (\S+)")


def installed(name: str = OURS) -> dict[str, str]:
    """Return the version of each package that ours needs to run, and of what those need."""
    found: dict[str, str] = {}
    left = [name]
    while left:
        each = distribution(left.pop())
        for line in each.requires or ():
            requirement = Requirement(line)
            needed = canonicalize_name(requirement.name)
            if needed in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
                continue
            try:
                found[needed] = distribution(needed).version
            except PackageNotFoundError:
                raise SystemExit(f"audit: {needed} is not installed; run make check first") from None
            left.append(needed)
    return found


def tool() -> list[str]:
    """Return how to run pip-audit, installing it first where it is not."""
    python = ROOT / ".venv" / "audit" / "bin" / "python"
    if not python.exists():
        run("bash", str(ROOT / ".ci" / "venv"), str(python.parents[1]))
    run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", TOOL)
    return [str(python), "-m", "pip_audit"]


def run(*command: str) -> str:
    """Run a command and return what it complained of. Raises :class:`Unknown` when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_S)
    if done.returncode:
        raise Unknown(done.stderr[-2000:])
    return done.stderr


class Unknown(Exception):
    """It cannot be said."""


def withdrawn(packages: dict[str, str]) -> list[str]:
    """Return those whose release was taken back; pip warns of them. Raises :class:`Unknown`."""
    options = ["--disable-pip-version-check", "--dry-run", "--ignore-installed", "--no-deps"]
    pins = [f"{name}=={version}" for name, version in packages.items()]
    said = run(sys.executable, "-m", "pip", "install", *options, *pins)
    return [f"{name} {version}: it was withdrawn" for name, version in _YANKED.findall(said)]


def advisories(packages: dict[str, str]) -> list[str]:
    """Return what pip-audit tells, a line for each weakness. Raises :class:`Unknown` when it does not."""
    with tempfile.TemporaryDirectory() as folder:
        pins, report = Path(folder) / "pins.txt", Path(folder) / "report.json"
        pins.write_text("".join(f"{name}=={version}\n" for name, version in packages.items()))
        options = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
        command = [*tool(), *options, "--requirement", str(pins), "--output", str(report)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_LONGEST_S)
        if not report.exists():  # it ends with 1 for a weakness and for a network that is down
            raise Unknown(done.stderr[-2000:])
        return read(report.read_text())


def read(report: str) -> list[str]:
    """Return the weaknesses in a report of pip-audit. Raises :class:`Unknown` when it left packages out."""
    told = json.loads(report)["dependencies"]
    if skipped := [each["name"] for each in told if "version" not in each]:
        raise Unknown(f"the package index at hand has no advisories for {', '.join(skipped)}")
    return [
        f"{each['name']} {each['version']}: {weak['id']}, mended in {', '.join(weak['fix_versions']) or 'no version'}"
        for each in told
        for weak in each["vulns"]
    ]


def weaknesses(packages: dict[str, str]) -> list[str]:
    """Ask for one package first: where there are no advisories at all, one question is enough."""
    advisories(dict([next(iter(packages.items()))]))
    return advisories(packages)


def main() -> int:
    """Say what is known."""
    packages = installed()
    known, unknown = list[str](), list[str]()
    for what, look in (("withdrawn releases", withdrawn), ("advisories", weaknesses)):
        try:
            known += look(packages)
        except (Unknown, OSError, ValueError, LookupError, subprocess.TimeoutExpired) as error:
            unknown.append(f"{what}: {error}")
    for line in known:
        print(f"AUDIT FAILED: {line}", file=sys.stderr)
    for line in unknown:
        print(f"AUDIT NOT DONE, of {len(packages)} packages: {line}", file=sys.stderr)
    if not known and not unknown:
        print(f"audit: nothing is known against {len(packages)} packages")
    return KNOWN if known else UNKNOWN if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
