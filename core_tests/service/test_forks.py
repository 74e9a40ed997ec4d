"""A process that is forked in a handler behaves like a child: in a real process of the service."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from core_tests.tools.process import ServiceProcess
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing forks there")

QUEUES = "{queues: [{name: q, type: memory}], drain: {delay: 0.1}}"
SIGNALLED: dict[str, object] = {
    "terminate": -15,
    "terminate many at once": 200,
    "interrupt": 1,
    "interrupt at once": True,
    "a signal that only the parent handles": -15,
}
CAME_BACK = {"return": 0, "raise": 1, "exit": 7, "run a loop": 5}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def service(tmp_path: Path, notes: Path) -> Iterator[ServiceProcess]:
    made = ServiceProcess("core_tests.tools.forking_service", QUEUES, tmp_path, NOTES=str(notes))
    made.start()
    yield made
    made.kill()


def noted(notes: Path, mark: str) -> list[str]:
    """The processes that wrote it."""
    return [line.rpartition(" ")[2] for line in notes.read_text().splitlines() if line.startswith(mark)]


def done(service: ServiceProcess, notes: Path, way: str) -> bool:
    """True if the service itself has noted what became of its child."""
    return str(service.pid) in noted(notes, f"{way}: ")


@pytest.mark.parametrize("style", ["plain", "coroutine"])
def test_a_child_is_ended_by_its_signals_and_its_parent_hears_nothing_of_them(
    service: ServiceProcess, notes: Path, style: str
) -> None:
    for way, code in SIGNALLED.items():
        service.publish("q", type=style, way=way)
        service.wait_until(partial(done, service, notes, way), f"{way} is done")
        assert noted(notes, f"{way}: {code}") == [str(service.pid)], notes.read_text()
    assert noted(notes, "survived") == []
    assert noted(notes, "the parent's own signal") == []
    assert service.get("/health/ready").status == 200
    service.signal(signal.SIGUSR1)
    service.wait_until(
        lambda: noted(notes, "the parent's own signal") == [str(service.pid)], "the parent hears its own"
    )
    service.terminate(15)
    assert service.exit_code == -signal.SIGTERM


@pytest.mark.parametrize("style", ["plain", "coroutine"])
def test_a_child_that_comes_out_of_its_handler_ends_there(service: ServiceProcess, notes: Path, style: str) -> None:
    for way, code in CAME_BACK.items():
        service.publish("q", type=style, way=way)
        service.wait_until(partial(done, service, notes, way), f"{way} is done")
        assert str(service.pid) in noted(notes, f"{way}: {code}"), notes.read_text()
    assert len(set(noted(notes, "child"))) == len(CAME_BACK)
    assert "RuntimeError: in the child" in service.log
    assert "attempt 1" not in service.log
    assert service.get("/health/ready").status == 200
    service.terminate(15)
    assert service.exit_code == -signal.SIGTERM


async def test_a_child_of_these_tests_does_not_outlive_a_service_that_is_killed(
    service: ServiceProcess, notes: Path
) -> None:
    service.publish("q", type="plain", way="nothing")
    service.wait_until(lambda: noted(notes, "child"), "there is a child")
    service.kill()
    await eventually(lambda: noted(notes, "orphaned") == noted(notes, "child"), "the child has ended")


def test_a_pool_of_processes_works_and_ends(service: ServiceProcess, notes: Path) -> None:
    service.publish("q", type="pool")
    service.wait_until(lambda: noted(notes, "pool: 1024"), "the pool has answered")
    service.terminate(15)
    assert service.exit_code == -signal.SIGTERM


def test_a_child_that_is_forked_in_the_drain_has_none_of_the_servers_handlers_either(
    service: ServiceProcess, notes: Path
) -> None:
    service.publish("q", type="draining")
    service.wait_until(lambda: noted(notes, "begun"), "the handler has begun")
    service.terminate(30)
    assert noted(notes, "draining: -15"), notes.read_text()
