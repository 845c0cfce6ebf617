"""The files of docker/ fit together, and fit the project: paths, commands, names, ports, health checks, users.

No engine runs here. Each check reads the texts and returns what is wrong; each fault at the end is one that it finds.
"""

from __future__ import annotations

import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.specifiers import SpecifierSet

from taskq.broker.amqp.location import PORTS, read_location
from taskq.cli.ping import LIMIT_S
from taskq.settings import Settings
from taskq.worker.supervisor import _KILL_MARGIN_S
from tests.guide.page import read_page
from tests.support.dockerfiles import Stage, is_let_through, read_dockerfile
from tests.support.refusal import refusal

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
WORKERS = sorted(path.stem for path in (ROOT / "workers").glob("*.py") if path.stem != "__init__")
NAMES = {f"TASKQ_{name.upper()}" for name in Settings.model_fields} | {"TASKQ_APP"}
RABBITMQ_NAMES = {"RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_VHOST"}
RABBITMQ_PROBES = {"ping", "check_running", "check_local_alarms", "check_port_connectivity"}
OURS = "taskq-worker"
OFFICIAL = re.compile(r"(?:python|rabbitmq):[\w.-]+")
SECRET = [".env", ".git/config", ".venv/bin/python", "taskq.db", "taskq.db-wal", "workers/.env", "workers/jobs.db"]
NEEDLESS = ["tests/conftest.py", "docs/README.md", "docker/compose.yaml", "taskq/cli/__pycache__/run.cpython-313.pyc"]


@dataclass(frozen=True)
class Files:
    """The texts under test."""

    dockerfile: str
    ignore: str
    compose: str
    page: str

    @cached_property
    def stages(self) -> list[Stage]:
        return read_dockerfile(self.dockerfile)

    @property
    def image(self) -> Stage:
        return self.stages[-1]

    @cached_property
    def composed(self) -> dict[str, Any]:
        return _filled(yaml.safe_load(self.compose))

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        return self.composed["services"]

    @property
    def ours(self) -> dict[str, dict[str, Any]]:
        """The services that run our image."""
        return {name: service for name, service in self.services.items() if service["image"] == OURS}

    def environment(self, service: Mapping[str, Any]) -> dict[str, str]:
        return self.image.environment | service.get("environment", {})


FILES = Files(
    dockerfile=(ROOT / "docker" / "Dockerfile").read_text("utf-8"),
    ignore=(ROOT / ".dockerignore").read_text("utf-8"),
    compose=(ROOT / "docker" / "compose.yaml").read_text("utf-8"),
    page=(ROOT / "docs" / "guide" / "docker.md").read_text("utf-8"),
)


def _filled(value: Any) -> Any:
    """Fill in variables as Compose does where the environment has none of them; one without a default stays."""
    match value:
        case dict():
            return {key: _filled(each) for key, each in value.items()}
        case list():
            return [_filled(each) for each in value]
        case str():
            return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value).replace("$$", "$")
        case _:
            return value


def seconds(text: str) -> float:
    """A duration of Docker in one unit, such as `30s`."""
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600}[text[-1]]


# The Dockerfile


def bases(files: Files) -> Iterator[str]:
    found = {stage.base for stage in files.stages}
    if len(files.stages) < 2 or len(found) != 1:
        yield f"not several stages on one base: {found}"
    for base in found:
        version = re.fullmatch(r"python:(3\.\d+)-slim-\w+", base)
        if version is None or version[1] not in SpecifierSet(PROJECT["project"]["requires-python"]):
            yield f"base {base}"


def copies(files: Files) -> Iterator[str]:
    names, copied = {stage.name for stage in files.stages}, set[str]()
    for stage in files.stages:
        for copy in stage.all("COPY"):
            if "from" in copy.flags:
                yield from [] if copy.flags["from"] in names else [f"no stage {copy.flags['from']}"]
                continue
            copied.update(copy.words[:-1])
    for source in sorted(copied):
        if not (ROOT / source).exists():
            yield f"no {source}"
        elif not is_let_through(files.ignore, source):
            yield f"{source} is ignored"
    project, wheel = PROJECT["project"], PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", "constraints.txt", project["readme"], *project["license-files"], *wheel["packages"]}
    yield from (f"{name} is not copied" for name in sorted((needed | {"workers"}) - copied))


def ignored(files: Files) -> Iterator[str]:
    yield from (f"{path} gets in" for path in [*SECRET, *NEEDLESS] if is_let_through(files.ignore, path))


def installs(files: Files) -> Iterator[str]:
    runs = [run.text for stage in files.stages for run in stage.all("RUN")]
    installed = [shlex.split(run) for run in runs if "install " in run and "pip" in run]
    if len(installed) != 1:
        yield "not one pip install"
    for words in installed:
        if "--no-cache-dir" not in words:
            yield "a cache is left"
        if words[words.index("--constraint") + 1 :][:1] != ["constraints.txt"] if "--constraint" in words else True:
            yield "no constraints"
        extras = set(re.findall(r"[\w-]+", words[-1]))
        yield from (f"no extra {name}" for name in sorted(extras - set(PROJECT["project"]["optional-dependencies"])))
        if "webhooks" not in extras:
            yield "workers.webhooks has no httpx"
    yield from (f"a cache is left by {run}" for run in runs if "apt-get" in run and "/var/lib/apt/lists" not in run)


def places(files: Files) -> Iterator[str]:
    """Where things are copied to is where they are looked for."""
    environment = files.image.environment
    targets = {copy.words[0]: copy.words[-1] for copy in files.image.all("COPY")}
    venv = next((copy.words[0] for copy in files.image.all("COPY") if "from" in copy.flags), "")
    if targets.get("workers") != f"{environment.get('PYTHONPATH')}/workers":
        yield "workers is not on PYTHONPATH"
    if targets.get(venv) != venv or f"{venv}/bin" not in environment.get("PATH", "").split(":"):
        yield f"{venv} is not on PATH, or moved"
    if not any(f"{venv}/bin/python" in run.text for run in files.stages[0].all("RUN")):
        yield f"nothing is installed in {venv}"


def users(files: Files) -> Iterator[str]:
    user = files.image.last("USER")
    made = " ".join(run.text for run in files.image.all("RUN"))
    numbers = re.fullmatch(r"([1-9]\d*):([1-9]\d*)", user.text if user else "")
    if numbers is None:
        yield f"the user is {user and user.text}, not two numbers above 0"
    elif f"--uid {numbers[1]} " not in made or f"groupadd --gid {numbers[2]} " not in made:
        yield f"{numbers[0]} is not made"
    elif f"--owner={numbers[1]} --group={numbers[2]} {files.image.all('WORKDIR')[-1].text}" not in made:
        yield "the working directory is not the user's"
    if user and any(each.name in ("RUN", "COPY") for each in files.image.instructions[_place(files.image, user) :]):
        yield "something is written after USER"


def _place(stage: Stage, instruction: object) -> int:
    return next(place for place, each in enumerate(stage.instructions) if each is instruction)


def signals(files: Files) -> Iterator[str]:
    stop, entrypoint = files.image.last("STOPSIGNAL"), files.image.last("ENTRYPOINT")
    if stop is None or stop.text != "SIGTERM":
        yield "STOPSIGNAL is not SIGTERM"
    for name in ("ENTRYPOINT", "CMD"):
        found = files.image.last(name)
        if found is None or found.exec_form is None:
            yield f"{name} is not in exec form"
    if entrypoint is None or entrypoint.words[0] not in PROJECT["project"]["scripts"]:
        yield "ENTRYPOINT is no command of the project"


def image_health(files: Files) -> Iterator[str]:
    check = files.image.last("HEALTHCHECK")
    if check is None or check.exec_form is None or check.words[:2] != ["taskq", "ping"]:
        yield "the health check is not taskq ping in exec form"
    elif not LIMIT_S * 2 <= seconds(check.flags["timeout"]) <= seconds(check.flags["interval"]):
        yield "taskq ping needs more time, or checks overlap"
    elif no := refusal(check.words[1:], files.image.environment):
        yield no


def image_command(files: Files) -> Iterator[str]:
    words = [word for name in ("ENTRYPOINT", "CMD") if (found := files.image.last(name)) for word in found.words]
    if no := refusal(words[1:], files.image.environment):
        yield no


def names(files: Files) -> Iterator[str]:
    text = f"{files.dockerfile}\n{files.compose}\n{files.page}"
    yield from (f"no setting {name}" for name in sorted(set(re.findall(r"\bTASKQ_\w+", text)) - NAMES))
    if files.image.environment.get("TASKQ_LOG_FORMAT") != "json":
        yield "logs are not json"


# compose.yaml


def builds(files: Files) -> Iterator[str]:
    built = {name: service for name, service in files.services.items() if "build" in service}
    for name, service in built.items():
        context = ROOT / "docker" / service["build"]["context"]
        if context.resolve() != ROOT or not (context / service["build"]["dockerfile"]).is_file():
            yield f"{name} is not built from docker/Dockerfile"
    for name, service in files.services.items():
        wanted = "build" if name in built else "never"
        if service["image"] == OURS and service.get("pull_policy") != wanted:
            yield f"{name}: an image of that name may come from somebody else"
        if service["image"] != OURS and not OFFICIAL.fullmatch(service["image"]):
            yield f"{name}: {service['image']} is no official image"
    if len(built) != 1 or not built.keys() <= files.ours.keys():
        yield f"built: {sorted(built)}"


def command_lines(service: Mapping[str, Any]) -> Iterator[list[str]]:
    """The commands of a service of our image, each from the word behind `taskq` on."""
    command = service.get("command", [])
    if "entrypoint" not in service:
        yield command
    elif service["entrypoint"][0] == "/bin/sh":
        lines = [shlex.split(line) for line in command[0].splitlines()]
        yield from (line[1:] if line[0] == "taskq" else [" ".join(line)] for line in lines)
    else:
        yield service["entrypoint"]


def commands(files: Files) -> Iterator[str]:
    for name, service in files.ours.items():
        lines = list(command_lines(service))
        answers = [refusal(line, files.environment(service)) for line in lines]
        yield from (f"{name}: {answer}" for answer in answers if answer)
        if not lines:
            yield f"{name} does nothing"


def roles(files: Files) -> Iterator[str]:
    """Two workers, or more, and a producer that sends and ends."""
    first = {name: next(command_lines(service), [""])[0] for name, service in files.ours.items()}
    workers = [files.services[name] for name, word in first.items() if word == "worker"]
    if sum(each.get("deploy", {}).get("replicas", 1) for each in workers) < 2:
        yield "fewer than two workers"
    producers = [name for name, word in first.items() if word == "send"]
    if not producers:
        yield "no producer"
    yield from (f"{name} begins again" for name in producers if files.services[name].get("restart") != "no")


def brokers(files: Files) -> Iterator[str]:
    """URLs lead to a service, with its port, user and password."""
    for name, service in files.ours.items():
        url = service["environment"]["TASKQ_URL"]
        if "$" in url:
            yield f"{name}: a variable has no default"
            continue
        (address,) = read_location(url).addresses
        login, _, place = address.removeprefix("amqp://").rpartition("@")
        host, _, port = place.strip("/").partition(":")
        broker = files.services.get(host)
        if broker is None:
            yield f"{name}: no service {host}"
            continue
        known = broker["environment"]
        if login != f"{known.get('RABBITMQ_DEFAULT_USER')}:{known.get('RABBITMQ_DEFAULT_PASS')}":
            yield f"{name}: another user or password than that of {host}"
        if int(port) != PORTS["amqp"] or port not in {each.split(":")[-1] for each in broker["ports"]}:
            yield f"{name}: {host} does not listen on {port}"
        yield from (f"{host}: {each}" for each in sorted(set(known) - RABBITMQ_NAMES))


def ports(files: Files) -> Iterator[str]:
    for name, service in files.services.items():
        for each in service.get("ports", []):
            if not re.fullmatch(r"127\.0\.0\.1:(\d+):\1", str(each)):
                yield f"{name}: port {each}"
    management = [name for name, service in files.services.items() if service["image"].endswith("-management")]
    published = [each for name in management for each in files.services[name].get("ports", [])]
    if not any(each.endswith(":15672") for each in published):
        yield "no management page"


def volumes(files: Files) -> Iterator[str]:
    used = {
        each.partition(":")[0]: name for name, service in files.services.items() for each in service.get("volumes", [])
    }
    declared = set(files.composed.get("volumes", {}))
    yield from (f"volume {name}" for name in sorted(declared ^ set(used)))
    for name, service in files.services.items():
        if service["image"].startswith("rabbitmq:"):
            if not any(each.endswith(":/var/lib/rabbitmq") for each in service.get("volumes", [])):
                yield f"{name} keeps nothing"
            if not service.get("hostname"):
                yield f"{name}: its node gets another name each time, and finds no data"


def waits(files: Files) -> Iterator[str]:
    """Who needs a broker waits until it is healthy, and what is waited for exists."""
    for name, service in files.services.items():
        needed = service.get("depends_on", {})
        for other, how in needed.items():
            if other not in files.services:
                yield f"{name}: no service {other}"
            elif how["condition"] == "service_healthy" and "test" not in files.services[other].get("healthcheck", {}):
                yield f"{name}: {other} has no health check"
        if name in files.ours and needed.get("rabbitmq") != {"condition": "service_healthy"}:
            yield f"{name} does not wait for the broker"


def broker_health(files: Files) -> Iterator[str]:
    for name, service in files.services.items():
        match service.get("healthcheck", {}).get("test"):
            case ["CMD", "rabbitmq-diagnostics", "--quiet", probe] if probe in RABBITMQ_PROBES:
                pass
            case None if name in files.ours:
                pass  # that of the image
            case other:
                yield f"{name}: health check {other}"


def stops(files: Files) -> Iterator[str]:
    for name, service in files.ours.items():
        if service.get("init") is not True:
            yield f"{name} has no init process"
        if "worker" not in service["command"]:
            continue
        grace_s = float(files.environment(service).get("TASKQ_GRACE", Settings.model_fields["grace"].default))
        if seconds(service.get("stop_grace_period", "10s")) <= grace_s + _KILL_MARGIN_S:
            yield f"{name} is killed before it has stopped"


# docs/guide/docker.md


def page_commands(files: Files) -> Iterator[str]:
    """What the page's commands run in a container is understood there; their files and services exist."""
    seen = 0
    for block in read_page("docs/guide/docker.md", files.page).blocks:
        for line in block.text.replace("\\\n", " ").splitlines() if block.language == "sh" else ():
            words = shlex.split(line)
            given = [value for option, value in pairwise(words) if option == "--file"]
            yield from (f"no {path}" for path in given if not (ROOT / path).is_file())
            environment, inside = _inside(files, words)
            if inside is not None:
                seen += 1
                yield from [no] if (no := refusal(inside, environment)) else []
    if seen < 4:
        yield "the page runs hardly anything"


def _inside(files: Files, words: list[str]) -> tuple[dict[str, str], list[str] | None]:
    """The environment and the words behind `taskq` of a command in a container."""
    given = [value for option, value in pairwise(words) if option == "--env"]
    environment = files.image.environment | dict(each.split("=", 1) for each in given)
    match words:
        case ["docker", "run", *rest]:
            return environment, rest[rest.index(OURS) + 1 :] or ["worker"]
        case ["docker", "compose", "--file", _, "exec", service, command, *rest] if service in files.ours:
            return files.environment(files.ours[service]), rest if command == "taskq" else [command]
        case ["docker", "compose", "--file", _, "exec", *rest]:
            return environment, rest
    return environment, None


def page_images(files: Files) -> Iterator[str]:
    """Images that the page builds on ours end as its user, with their code where it is looked for."""
    found = 0
    for block in read_page("docs/guide/docker.md", files.page).blocks:
        if not block.text.startswith("FROM "):
            continue
        (stage,) = read_dockerfile(block.text)
        found += 1
        user, target = stage.last("USER"), stage.all("COPY")[-1].words[-1]
        if stage.base != OURS or (user and user.text != files.image.all("USER")[-1].text):
            yield f"{block.place}: base {stage.base}, user {user and user.text}"
        if Path(target).parent.as_posix() != files.image.environment["PYTHONPATH"]:
            yield f"{block.place}: {target} is not on PYTHONPATH"
        if stage.environment.keys() != {"TASKQ_APP"}:
            yield f"{block.place}: TASKQ_APP is not set"
    if not found:
        yield "no image of an application"


Check = Callable[[Files], Iterator[str]]
CHECKS: list[Check] = [
    bases, copies, ignored, installs, places, users, signals, image_health, image_command, names,
    builds, commands, roles, brokers, ports, volumes, waits, broker_health, stops, page_commands, page_images,
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS)
def test_the_files_fit(check: Check) -> None:
    assert list(check(FILES)) == []


@pytest.mark.parametrize("name", WORKERS)
def test_every_worker_of_the_image_can_be_run(name: str) -> None:
    assert refusal(["worker", f"workers.{name}:app"], FILES.image.environment) is None


FAULTS: list[tuple[Check, str, str, str]] = [
    (bases, "dockerfile", "python:3.13-slim-bookworm AS", "python:3.9-slim-bookworm AS"),
    (bases, "dockerfile", "-slim-bookworm", ""),
    (copies, "dockerfile", "README.md LICENSE", "README.md LICENCE"),
    (copies, "dockerfile", "COPY taskq ./taskq\n", ""),
    (copies, "dockerfile", "--from=build", "--from=builder"),
    (copies, "ignore", "!workers\n", ""),
    (copies, "ignore", "!LICENSE\n", ""),
    (ignored, "ignore", "\n*\n", "\n"),
    (ignored, "ignore", "**/__pycache__", "__pycache__"),
    (ignored, "ignore", "**/.env", ".env"),
    (installs, "dockerfile", "--no-cache-dir ", ""),
    (installs, "dockerfile", "--constraint constraints.txt ", ""),
    (installs, "dockerfile", "--constraint constraints.txt", "--constraint pins.txt"),
    (installs, "dockerfile", "'.[webhooks]'", "."),
    (installs, "dockerfile", "'.[webhooks]'", "'.[webhooks,metrics]'"),
    (installs, "dockerfile", "RUN groupadd", "RUN apt-get install --yes curl\nRUN groupadd"),
    (places, "dockerfile", "PYTHONPATH=/app", "PYTHONPATH=/srv"),
    (places, "dockerfile", "/opt/taskq /opt/taskq", "/opt/taskq /opt/venv"),
    (places, "dockerfile", "PATH=/opt/taskq/bin:$PATH", "PATH=/opt/bin:$PATH"),
    (places, "dockerfile", "--python /opt/taskq/bin/python", "--python /opt/venv/bin/python"),
    (users, "dockerfile", "USER 10001:10001\n", ""),
    (users, "dockerfile", "USER 10001:10001", "USER taskq"),
    (users, "dockerfile", "USER 10001:10001", "USER 0:0"),
    (users, "dockerfile", "--uid 10001", "--uid 10002"),
    (users, "dockerfile", "WORKDIR /data", "WORKDIR /app"),
    (users, "dockerfile", "WORKDIR /data", "WORKDIR /data\nCOPY workers /data/workers"),
    (signals, "dockerfile", "STOPSIGNAL SIGTERM", "STOPSIGNAL SIGKILL"),
    (signals, "dockerfile", 'ENTRYPOINT ["taskq"]', "ENTRYPOINT taskq"),
    (signals, "dockerfile", 'CMD ["worker"]', "CMD worker"),
    (signals, "dockerfile", 'ENTRYPOINT ["taskq"]', 'ENTRYPOINT ["taskqd"]'),
    (image_health, "dockerfile", 'CMD ["taskq", "ping"]', 'CMD ["taskq", "version"]'),
    (image_health, "dockerfile", 'CMD ["taskq", "ping"]', 'CMD ["taskq", "ping", "--silent"]'),
    (image_health, "dockerfile", 'CMD ["taskq", "ping"]', "CMD taskq ping || exit 1"),
    (image_health, "dockerfile", "--timeout=15s", "--timeout=3s"),
    (image_command, "dockerfile", 'CMD ["worker"]', 'CMD ["work"]'),
    (image_command, "dockerfile", 'CMD ["worker"]', 'CMD ["worker", "--log=json"]'),
    (image_command, "dockerfile", "workers.work_queue:app", "workers.work_queues:app"),
    (image_command, "dockerfile", "workers.work_queue:app", "workers.work_queue:application"),
    (image_command, "dockerfile", "LOG_FORMAT=json", "LOG_FORMAT=xml"),
    (names, "dockerfile", "TASKQ_LOG_FORMAT", "TASKQ_LOG_FORM"),
    (names, "dockerfile", "TASKQ_LOG_FORMAT=json", "TASKQ_LOG_FORMAT=human"),
    (names, "compose", "TASKQ_URL:", "TASKQ_BROKER:"),
    (names, "page", "`TASKQ_GRACE`", "`TASKQ_GRACE_TIME`"),
    (builds, "compose", "dockerfile: docker/Dockerfile", "dockerfile: Dockerfile"),
    (builds, "compose", "context: ..", "context: ."),
    (builds, "compose", "pull_policy: never", "pull_policy: missing"),
    (builds, "compose", "pull_policy: build", "pull_policy: always"),
    (builds, "compose", "rabbitmq:4-management", "registry.example/rabbitmq:4-management"),
    (commands, "compose", '["worker"]', '["worker", "--threads", "4"]'),
    (commands, "compose", '["worker"]', '["worker", "--queue", "work=many"]'),
    (commands, "compose", '["worker"]', '["worker", "shop:app"]'),
    (commands, "compose", "taskq send work", "taskq push work"),
    (commands, "compose", "taskq send work", "taskq send works"),
    (commands, "compose", "taskq send work", "rm -r"),
    (commands, "compose", '"message"', '"text"'),
    (commands, "compose", " --wait", " --await"),
    (commands, "compose", "TASKQ_APP: workers.work_queue:app", "TASKQ_APP: workers.hello:app"),
    (commands, "compose", "TASKQ_APP:", "TASKQ_CONCURRENCY: 0\n      TASKQ_APP:"),
    (roles, "compose", "replicas: 2", "replicas: 1"),
    (roles, "compose", 'restart: "no"', "restart: always"),
    (roles, "compose", "taskq send", "taskq run"),
    (brokers, "compose", "@rabbitmq:5672", "@rabbit:5672"),
    (brokers, "compose", "@rabbitmq:5672", "@rabbitmq:5673"),
    (brokers, "compose", "@rabbitmq:5672", "@rabbitmq:15672"),
    (brokers, "compose", "${RABBITMQ_PASSWORD:-taskq}@", "${RABBITMQ_PASSWORD:-secret}@"),
    (brokers, "compose", "${RABBITMQ_PASSWORD:-taskq}@", "${RABBITMQ_PASSWORD}@"),
    (brokers, "compose", "RABBITMQ_DEFAULT_PASS", "RABBITMQ_DEFAULT_PASSWORD"),
    (brokers, "compose", "127.0.0.1:5672:5672", "127.0.0.1:5673:5673"),
    (ports, "compose", "127.0.0.1:15672:15672", "15672:15672"),
    (ports, "compose", "127.0.0.1:5672:5672", "0.0.0.0:5672:5672"),
    (ports, "compose", '      - "127.0.0.1:15672:15672"', "      #"),
    (volumes, "compose", "rabbitmq:/var/lib/rabbitmq", "data:/var/lib/rabbitmq"),
    (volumes, "compose", "rabbitmq:/var/lib/rabbitmq", "rabbitmq:/data"),
    (volumes, "compose", "volumes:\n  rabbitmq:\n", ""),
    (volumes, "compose", "    hostname: rabbitmq", "    #"),
    (waits, "compose", "      worker:\n        condition", "      workers:\n        condition"),
    (waits, "compose", "condition: service_started", "condition: service_healthy"),
    (waits, "compose", "condition: service_healthy", "condition: service_started"),
    (broker_health, "compose", "check_port_connectivity", "check_ports"),
    (broker_health, "compose", '"rabbitmq-diagnostics", "--quiet", ', '"true", '),
    (stops, "compose", "stop_grace_period: 60s # taskq", "stop_grace_period: 30s # taskq"),
    (stops, "compose", "stop_grace_period: 60s # taskq", "#"),
    (stops, "compose", "TASKQ_APP:", "TASKQ_GRACE: 300\n      TASKQ_APP:"),
    (stops, "compose", "    init: true\n    command", "    command"),
    (page_commands, "page", "--file docker/Dockerfile", "--file Dockerfile"),
    (page_commands, "page", "taskq-worker tasks", "taskq-worker list"),
    (page_commands, "page", "worker --concurrency 20", "worker --slots 20"),
    (page_commands, "page", "workers.webhooks:app", "workers.hooks:app"),
    (page_commands, "page", "exec worker taskq check", "exec workers taskq check"),
    (page_images, "page", "FROM taskq-worker", "FROM worker"),
    (page_images, "page", "USER 10001:10001", "USER 10001:0"),
    (page_images, "page", "COPY shop /app/shop", "COPY shop /data/shop"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "file", "right", "wrong"), FAULTS)
def test_a_planted_fault_is_found(check: Check, file: str, right: str, wrong: str) -> None:
    text = getattr(FILES, file)
    assert right in text
    assert list(check(replace(FILES, **{file: text.replace(right, wrong)})))


def test_every_check_has_its_fault() -> None:
    assert {check for check, *_ in FAULTS} == set(CHECKS)


def test_asking_for_a_refusal_leaves_the_process_as_it_was() -> None:
    path = sys.path.copy()
    assert refusal(["worker"], FILES.image.environment) is None
    assert sys.path == path
