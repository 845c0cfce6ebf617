"""Finding the app: ``module:app``, ``module:factory``, or the only app of ``module``; and a task in it by name.

It runs the user's code, so whatever that raises is told as one line that names the user's file, never as a traceback.
"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard

from taskq.app import TaskQ
from taskq.cli.complaint import Complaint, did_you_mean
from taskq.cli.fault import fault_line, is_raised_inside
from taskq.tasks.exchange import Exchange
from taskq.tasks.task import AnyTask

App = TaskQ[Any]


def load_app(reference: str, folder: Path | None = None) -> App:
    """Return the app that ``reference`` names, with ``folder`` (the working directory) on ``sys.path``.

    Raises :class:`Complaint` that says what is wrong with the reference or with the user's module.
    """
    place = (folder or Path.cwd()).absolute()
    if not place.is_dir():
        raise Complaint(f"--app-dir {str(folder)!r} is no folder")
    # `python -m taskq` puts the working directory there itself; as with it, the user's modules come first
    sys.path[:] = [str(place), *(entry for entry in sys.path if entry not in ("", str(place)))]
    name, colon, path = reference.partition(":")
    if not name or (colon and not path) or not all(part.isidentifier() for part in name.split(".")):
        raise Complaint(f"{reference!r} names no app: write module:app, such as shop.queue:app")
    module = _import(name, place)
    if not colon:
        return _only_app(module)
    return _as_app(_attribute(module, path), f"{name}:{path}", module)


def find_task(app: App, name: str) -> AnyTask:
    """Return the task with that name. Raises :class:`Complaint` with the closest names."""
    tasks = app.registry().tasks
    if name not in tasks:
        hint = did_you_mean(name, tasks, otherwise="there are") or "; it declares none"
        raise Complaint(f"app {app.name!r} has no task {name!r}{hint}")
    return tasks[name]


def find_exchange(app: App, name: str) -> Exchange[Any]:
    """Return the exchange with that name. Raises :class:`Complaint` with the closest names."""
    exchanges = app.registry().exchanges
    if name not in exchanges:
        hint = did_you_mean(name, exchanges, otherwise="there are") or "; it declares none"
        raise Complaint(f"app {app.name!r} has no exchange {name!r}{hint}")
    return exchanges[name]


def _import(name: str, place: Path) -> ModuleType:
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not is_raised_inside(error) and (name == missing or name.startswith(f"{missing}.")):
            raise Complaint(_not_found(name, missing, place)) from None
        raise Complaint(f"importing {name} failed: {fault_line(error, place)}") from None
    except (Exception, SystemExit) as error:
        raise Complaint(f"importing {name} failed: {fault_line(error, place)}") from None


def _not_found(name: str, missing: str, place: Path) -> str:
    if name.endswith(".py"):
        return f"no module {name!r}: write its name with dots and without .py"
    parent, _, last = missing.rpartition(".")
    folder = place.joinpath(*parent.split(".")) if parent else place
    if parent and not folder.is_dir():
        return f"no module {name!r}: {parent!r} is no package with modules in it"
    beside = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    where = f"{missing!r} of {name!r}" if missing != name else repr(name)
    hint = did_you_mean(last, beside - {"__init__"})
    return f"no module {where} in {folder}{hint} (the first word names the app; --app-dir names another folder)"


def _attribute(module: ModuleType, path: str) -> object:
    found: object = module
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            known = [n for n in vars(module) if not n.startswith("_")] if found is module else dir(found)
            apps = ", ".join(_apps(module))
            hint = (
                did_you_mean(part, _apps(module))
                or did_you_mean(part, known)
                or (f"; its app is {apps}" if apps else "")
            )
            raise Complaint(f"module {module.__name__!r} has no {path!r}{hint}") from None
        except Exception as error:
            raise Complaint(f"reading {module.__name__}:{path} failed: {fault_line(error, Path.cwd())}") from None
    return found


def _is_app(value: object) -> TypeGuard[App]:
    return isinstance(value, TaskQ)


def _apps(module: ModuleType) -> dict[str, App]:
    """Return the apps of a module by name; one that has two names counts once, under the first."""
    apps: dict[str, App] = {}
    for name, value in vars(module).items():
        if _is_app(value) and not any(value is app for app in apps.values()):
            apps[name] = value
    return apps


def _only_app(module: ModuleType) -> App:
    apps = _apps(module)
    if len(apps) == 1:
        return next(iter(apps.values()))
    if not apps:
        raise Complaint(f"module {module.__name__!r} has no TaskQ; write module:app, or make one: app = TaskQ('name')")
    choices = ", ".join(f"{module.__name__}:{name}" for name in apps)
    raise Complaint(f"module {module.__name__!r} has {len(apps)} apps; choose one: {choices}")


def _as_app(found: object, reference: str, module: ModuleType) -> App:
    if _is_app(found):
        return found
    if callable(found) and not isinstance(found, type) and not hasattr(found, "definition"):
        return _made(_call(found, reference), reference)
    apps = " or ".join(f"{module.__name__}:{name}" for name in _apps(module))
    hint = f"; did you mean {apps}?" if apps else ""
    raise Complaint(f"{reference} is no TaskQ (its type is {type(found).__name__}){hint}")


def _call(factory: Any, reference: str) -> object:
    try:
        inspect.signature(factory).bind()
    except TypeError:
        raise Complaint(f"{reference} wants arguments; a factory takes none and returns a TaskQ") from None
    except ValueError:
        pass  # a builtin without a signature: the call will tell
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise Complaint(f"{reference}() failed: {fault_line(error, Path.cwd())}") from None


def _made(found: object, reference: str) -> App:
    if _is_app(found):
        return found
    if inspect.iscoroutine(found):
        found.close()
        raise Complaint(f"{reference} is async; a factory is a plain def that returns a TaskQ")
    raise Complaint(f"{reference}() returned no TaskQ (its type is {type(found).__name__})")
