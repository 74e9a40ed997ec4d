"""`queue-template check` and `faults`: the tests of the core, run against a project, with the project's own code.

They run in the project's own environment, over which uv lays what the tests need for as long as they run. The tests
are copied to a temporary folder first, for two reasons: they are installed among the libraries of this tool, and those
must not be found; and what a test run writes must not lie in the project. So no file, lock or environment of the
project changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUITE = Path(__file__).resolve().parents[1] / "core_tests"
CONTRACT = "contract"
"""The project's folder with a module for each provider of its own: what it claims, and how to start a server of its."""
WITH_SERVER = {"rabbitmq": "core_tests/faults", "redis": "core_tests/redis", "nats": "core_tests/nats"}
"""Providers whose servers the fault suite kills, and where those tests are."""
REQUIREMENTS = ("requirements.txt", "requirements-faults.txt")
SIDE_BY_SIDE = ["-n", "3", "--dist", "loadfile"]
PLUGINS = ("asyncio", "timeout", "xdist", "hypothesispytest")
"""pytest's plugins that are loaded. Those that the project has stay out."""
UNWANTED = {
    *("VIRTUAL_ENV", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH"),
    *("PYTEST_ADDOPTS", "PYTEST_PLUGINS"),
}
"""Variables of the user's that would change what the tests find."""
FAULTS_USAGE = "queue-template faults [PYTEST'S OPTIONS], or: queue-template faults --soak [MINUTES]"


def check(project: Path, arguments: list[str]) -> int:
    """Run the core's tests and the contract suite.

    Args:
        project: the project's folder. Each `contract/<provider>.py` in it puts a provider of its own to the test.
        arguments: pytest's. Paths are those of the suite, such as `core_tests/contract`.

    Returns the exit code.
    """
    paths = [] if any(argument.startswith("core_tests") for argument in arguments) else ["core_tests"]
    with _suite(project) as folder:
        return _run(project, folder, [*_with_broker(), *_pytest(), *SIDE_BY_SIDE, *arguments, *paths], REQUIREMENTS[0])


def faults(project: Path, arguments: list[str]) -> int:
    """Run the fault suite: it kills, freezes and fills servers of its own, of the providers that the project has.

    Args:
        project: the project's folder.
        arguments: pytest's, or `--soak`, which may be followed by a number of minutes: load and faults at random.

    Returns the exit code.
    """
    found = [name for name in WITH_SERVER if (project / "app/queue/providers" / name).is_dir()]
    if not found:
        print("This project has no provider with a server that could be killed, so there is nothing to do.")
        return 0
    if arguments[:1] == ["--soak"]:
        minutes = arguments[1:] or ["10"]
        if "rabbitmq" not in found or len(minutes) != 1 or not minutes[0].isdecimal():
            print(f"Usage: {FAULTS_USAGE}\nThe soak needs RabbitMQ among the project's providers.", file=sys.stderr)
            return 2
        with _suite(project) as folder:
            return _run(project, folder, ["-m", "core_tests.faults.soak", *minutes], *REQUIREMENTS)
    # The services of these are watched by the clock, so they have the machine for themselves.
    alone = [WITH_SERVER[name] for name in found if name != "rabbitmq"]
    runs = [[*SIDE_BY_SIDE, *arguments, "core_tests/faults"]] if "rabbitmq" in found else []
    runs += [[*arguments, *alone]] if alone else []
    with _suite(project) as folder:
        codes = [_run(project, folder, [*_pytest(), "-m", "faults", *run], *REQUIREMENTS) for run in runs]
    return max(codes)


@contextmanager
def _suite(project: Path) -> Iterator[Path]:
    """A temporary folder with the tests, and with the project's own contract modules among them."""
    with tempfile.TemporaryDirectory(prefix="queue-template-") as name:
        folder = Path(name).resolve()
        suite = folder / SUITE.name
        shutil.copytree(SUITE, suite, ignore=shutil.ignore_patterns("__pycache__"))
        for module in (project / CONTRACT).glob("*.py"):
            shutil.copy(module, suite / "contract" / "providers" / module.name)
        yield folder


def _pytest() -> list[str]:
    # The ini file's `pythonpath` is that of this repository; PYTHONPATH counts here.
    settings = ["-c", "core_tests/pytest.ini", "-o", "pythonpath=", "-p", "no:cacheprovider"]
    return ["-m", "pytest", *settings, *(part for plugin in PLUGINS for part in ("-p", plugin))]


def _with_broker() -> list[str]:
    return ["-m", "core_tests.tools.with_broker", "python"]


def _has_environment(project: Path) -> bool:
    """True if uv has made one, for the project or for the workspace that it is part of; `--no-sync` makes none."""
    name = os.environ.get("UV_PROJECT_ENVIRONMENT") or ".venv"
    roots = [folder for folder in (project, *project.parents) if (folder / "pyproject.toml").is_file()]
    return any((folder / name).is_dir() for folder in roots)


def _run(project: Path, folder: Path, command: list[str], *requirements: str) -> int:
    """Run Python with the project's environment and the tests' requirements. Returns the exit code."""
    uv = os.environ.get("UV") or shutil.which("uv")
    if uv is None:
        print("Error: uv is not on the PATH.", file=sys.stderr)
        return 1
    if not _has_environment(project.resolve()):
        print("Error: the project has no environment yet. Make it first: make setup", file=sys.stderr)
        return 1
    needed = [f"--with-requirements={SUITE / file}" for file in requirements]
    environment = {name: value for name, value in os.environ.items() if name not in UNWANTED} | {
        "PYTHONPATH": os.pathsep.join([str(project.resolve()), str(folder)]),
        "PYTHONPYCACHEPREFIX": str(folder / "pycache"),  # not beside the project's code and libraries
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
    }
    run = [uv, "run", "--quiet", "--no-sync", "--project", str(project.resolve()), *needed, "python", *command]
    with subprocess.Popen(run, cwd=folder, env=environment) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:  # the tests get it, too; they stop the servers that they started
                continue
