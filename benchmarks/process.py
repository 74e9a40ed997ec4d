"""Runs one contender in a process of its own, and reads its result."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.settings import Settings
from benchmarks.workload import MARK

if TYPE_CHECKING:
    import psutil

ROOT = Path(__file__).resolve().parents[1]
WITHOUT = ROOT / "benchmarks" / "without"
"""Modules that hide uvloop and httptools."""
MEGABYTE = 1024 * 1024
ACK_GRACE = 0.3
"""Seconds from the last handler's end to SIGTERM: a bare client ends at once then."""
STOP_TIMEOUT = 1.0


class CannotError(Exception):
    """The contender has no such thing: the row shows why."""


class VoidError(Exception):
    """It went wrong, so there is no figure."""


class Contender:
    """`with Contender("bare", "consume", settings) as process: process.result(60)`."""

    def __init__(self, name: str, role: str, settings: Settings) -> None:
        self.what = f"{name} {role}"
        self.started = time.perf_counter()
        paths = [WITHOUT, ROOT] if settings.plain else [ROOT]
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.contenders.{name}", role],
            cwd=ROOT,
            env={
                # What was imported once is compiled, as it is wherever this runs for real.
                **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
                **settings.to_env(),
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "PYTHONWARNINGS": "ignore",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._results: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(MARK):
                self._results.put(json.loads(line.removeprefix(MARK)))
            else:
                self._lines.append(line)
        self._results.put(None)

    def result(self, timeout: float) -> dict[str, Any]:
        """What the process reports next. Raises CannotError or VoidError."""
        try:
            result = self._results.get(timeout=timeout)
        except queue.Empty:
            raise VoidError(f"{self.what}: no result in {timeout:g} s{self.tail()}") from None
        if result is None:
            raise VoidError(f"{self.what}: ended with {self._process.wait()}{self.tail()}")
        if "cannot" in result:
            raise CannotError(result["cannot"])
        return result

    def tail(self) -> str:
        """The last lines that it wrote."""
        return "".join(f"\n    | {line.rstrip()}" for line in self._lines[-15:])

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    @property
    def has_result(self) -> bool:
        """Whether `result()` would return at once."""
        return not self._results.empty()

    @property
    def going(self) -> bool:
        """Whether it runs and has said nothing yet, so that waiting for it makes sense."""
        return self.running and not self.has_result

    def tree(self) -> list[psutil.Process]:
        """The process, and those it started."""
        import psutil  # noqa: PLC0415 - of the benchmarks' environment; the tests of this file's callers do without

        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def memory(self) -> float:
        """Resident memory in MB, of all its processes."""
        return float(sum(process.memory_info().rss for process in self.tree())) / MEGABYTE

    def peak(self) -> float:
        """The most resident memory that the process ever had, in MB; where the system doesn't tell, what it has now."""
        status = Path(f"/proc/{self._process.pid}/status")
        if status.exists():
            for line in status.read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return self.memory()

    def threads(self) -> int:
        """Threads, of all its processes."""
        return int(sum(process.num_threads() for process in self.tree()))

    def connections(self, port: int) -> int:
        """TCP connections to this port, of all its processes."""
        return sum(
            bool(connection.raddr) and connection.raddr.port == port and connection.status == "ESTABLISHED"
            for process in self.tree()
            for connection in process.net_connections("tcp")
        )

    def stop(self) -> None:
        """SIGTERM, once its last acks should be written, and soon SIGKILL: how long a shutdown takes is no figure."""
        if self.running:
            time.sleep(ACK_GRACE)
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
