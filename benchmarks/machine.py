"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.contenders import DISTRIBUTIONS

FAST_PARTS = {"httptools", "uvloop"}


def about(broker: str, *, plain: bool) -> str:
    """One paragraph: processors, memory, kernel, the broker's and the libraries' versions. No names of machines."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    used = [name for name in DISTRIBUTIONS if not (plain and name in FAST_PARTS)]
    found = [f"{name} {number}" for name in used if (number := _version(name))]
    return (
        f"{os.cpu_count()} × {_processor()}, {memory:.0f} GiB of memory, {platform.system()} {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, RabbitMQ {broker} on the same machine; "
        f"{', '.join(found)}."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
