"""What the tests know of a kind of broker: where one may run already, and how to start a private one.

`core_tests/tools/<provider>_node.py` holds a `BrokerNode` for each, as `NODE`.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import core_tests.tools
from core_tests.contract import providers
from core_tests.tools.ports import free_port
from core_tests.tools.project import PROVIDERS, has_provider

START_TIMEOUT = 90.0


class BrokerNode(ABC):
    """A private server on a free port, from an installed program: to be used, killed and thrown away.

    Its data stay over `kill()` and `start()`, until `remove()`.
    """

    title: ClassVar[str]
    """Its name, as people write it."""
    provider: ClassVar[str]
    """The `type` of its queues."""
    package: ClassVar[str]
    """The Debian package that has it."""
    servers: ClassVar[Sequence[str]]
    """Where its program may be."""
    default_port: ClassVar[int]

    def __init__(self) -> None:
        server = self.find_server()
        if server is None:
            raise RuntimeError(f"{self.package} is not installed")
        self.server = server
        self.home = Path(tempfile.mkdtemp(prefix=f"{self.provider}-node-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def url_of(cls, port: int) -> str:
        """The URL of a server on this machine."""

    @classmethod
    @abstractmethod
    def answers(cls, port: int) -> bool:
        """True if a server that is fit for use listens on this machine's port."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """What starts the server on `self.port`, with its data in `self.home`."""

    def environment(self) -> dict[str, str]:
        """The environment of the server."""
        return dict(os.environ)

    @classmethod
    def variable(cls) -> str:
        """The environment variable that names a server for the tests."""
        return f"{cls.provider.upper()}_URL"

    @classmethod
    def named_server(cls) -> str | None:
        """The program that `<PROVIDER>_SERVER` names, if it names one. Raises RuntimeError if there is none."""
        variable = f"{cls.provider.upper()}_SERVER"
        if not (name := os.environ.get(variable)):
            return None
        if (found := shutil.which(name)) is None:
            raise RuntimeError(f"{variable} is {name!r}, and no program is there")
        return found

    @classmethod
    def find_server(cls) -> str | None:
        """The path of a server: the one that is named, or else an installed one."""
        return cls.named_server() or next(filter(None, map(shutil.which, cls.servers)), None)

    @property
    def url(self) -> str:
        """The server's URL."""
        return self.url_of(self.port)

    @property
    def running(self) -> bool:
        """True if the process is there."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the server, or start it again with its data. Returns when it can be used."""
        with (self.home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(),
                env=self.environment(),
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT
        while not self.answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                output_text = (self.home / "output").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"the {self.title} server did not start:\n{output_text}")
            time.sleep(0.1)

    def keep_running(self) -> None:
        """Start the server if it was killed."""
        if not self.running:
            self.start()

    def kill(self) -> None:
        """`kill -9`, for the server and all it started."""
        if self._process is not None:
            for pid in (self._process.pid, *_children(self._process.pid)):
                for kill in (os.killpg, os.kill):  # a child may have a group of its own
                    with suppress(ProcessLookupError):
                        kill(pid, signal.SIGKILL)
            self._process.wait(timeout=30)
            self._process = None

    def stop(self) -> None:
        """End the server in order: it writes what it has in memory."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def remove(self) -> None:
        """Kill the server, and delete its data."""
        self.kill()
        shutil.rmtree(self.home, ignore_errors=True)


def _children(pid: int) -> list[int]:
    """The processes that this one has started, where there is a `pgrep` that knows."""
    if shutil.which("pgrep") is None:
        return []
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    return [other for child in found for other in (int(child), *_children(int(child)))]


def kinds() -> list[type[BrokerNode]]:
    """The kinds of brokers that this project has tests for."""
    names = sorted(module.name for module in pkgutil.iter_modules(core_tests.tools.__path__))
    nodes = [name for name in names if name.endswith("_node") and has_provider(name.removesuffix("_node"))]
    modules = [importlib.import_module(f"core_tests.tools.{name}") for name in nodes]
    modules += [importlib.import_module(f"{providers.__name__}.{name}") for name in own_contracts()]
    return [module.NODE for module in modules if hasattr(module, "NODE")]


def own_contracts() -> list[str]:
    """The providers of the project's own that are put to the test, from its folder `contract`."""
    names = sorted(module.name for module in pkgutil.iter_modules(providers.__path__))
    return [name for name in names if name not in (*PROVIDERS, "memory") and has_provider(name)]
