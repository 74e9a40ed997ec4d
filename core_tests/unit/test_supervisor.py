"""A link is opened, and opened again, for as long as it takes."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import tenacity

from app.queue.errors import BrokerRefusedError, BrokerUnavailableError
from app.queue.interfaces import Link
from app.queue.run import supervisor as module
from app.queue.run.supervisor import Supervisor
from core_tests.tools.example import queue_config
from core_tests.tools.waiting import eventually


class FakeLink(Link):
    """Fails to open with each of `errors`; is lost when told so."""

    def __init__(self) -> None:
        super().__init__("q", queue_config("q"))
        self.errors: list[Exception] = []
        self.log: list[str] = []
        self.losing: asyncio.Queue[str] = asyncio.Queue()
        self.closable = asyncio.Event()
        self.closable.set()

    async def open(self) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.log.append("open")

    async def lost(self) -> str:
        return await self.losing.get()

    async def close(self) -> None:
        self.log.append("close")
        await self.closable.wait()


@pytest.fixture
async def link() -> AsyncIterator[FakeLink]:
    link = FakeLink()
    yield link
    link.closable.set()


@pytest.fixture
def supervisor(link: FakeLink, soon: None) -> Supervisor:
    return Supervisor(link, "consumer")


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every link counts as good at once, and an unreachable broker is tried again at once."""
    monkeypatch.setattr(module, "STABLE_AFTER", -1.0)
    monkeypatch.setattr(module, "_wait", tenacity.wait_none())


async def end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_before_it_runs_it_says_that_it_is_not_connected_yet(supervisor: Supervisor) -> None:
    assert supervisor.detail == "not connected yet"


async def test_an_open_link_has_no_detail_and_is_closed_in_the_end(link: FakeLink, supervisor: Supervisor) -> None:
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: supervisor.detail is None, "it is connected")
    assert link.log == ["open"]
    await end(task)
    assert link.log == ["open", "close"]


async def test_a_link_that_can_not_be_opened_is_tried_until_it_can(
    link: FakeLink, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    link.errors = [BrokerUnavailableError("RabbitMQ is away"), OSError("no route"), RuntimeError()] * 10
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: link.log == ["open"], "it is connected")
    for text in ("RabbitMQ is away", "OSError: no route", "RuntimeError"):
        assert f"consumer of 'q': {text}; trying again in " in caplog.text
    await end(task)


async def test_a_failure_that_is_not_the_brokers_is_shown_with_its_traceback_once(
    link: FakeLink, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    link.errors = [KeyError("host"), KeyError("host")]
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: link.log == ["open"], "it is connected")
    assert "consumer of 'q': KeyError: 'host'; trying again in " in caplog.text
    assert caplog.text.count("Traceback") == 1
    await end(task)


async def test_the_reason_of_the_last_failure_is_its_detail_until_it_is_connected(
    link: FakeLink, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_wait", tenacity.wait_fixed(3600))
    link.errors = [BrokerUnavailableError("RabbitMQ is away")]
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: supervisor.detail == "RabbitMQ is away", "the reason is told")
    await end(task)


async def test_a_lost_link_is_opened_again_as_often_as_it_is_lost(
    link: FakeLink, supervisor: Supervisor, caplog: pytest.LogCaptureFixture
) -> None:
    task = asyncio.create_task(supervisor.run())
    for times in (1, 2, 3):
        await eventually(lambda: link.log == ["open"] * times, "it is open")  # noqa: B023 - awaited before the next round
        assert supervisor.detail is None
        link.losing.put_nowait(f"heartbeat {times} missed")
        await eventually(lambda: f"heartbeat {times} missed; connecting again" in caplog.text, "a warning")  # noqa: B023 - awaited before the next round
    await end(task)


async def test_a_lost_link_says_why_while_it_can_not_be_opened_again(
    link: FakeLink, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STABLE_AFTER", 3600.0)
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: supervisor.detail is None, "it is connected")
    link.losing.put_nowait("heartbeat missed")
    await eventually(lambda: supervisor.detail == "heartbeat missed", "the reason is told")
    await end(task)


async def test_a_close_that_hangs_does_not_hold_up_the_end(
    link: FakeLink, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CLOSE_TIMEOUT", 0.01)
    link.closable.clear()
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: link.log == ["open"], "it is open")
    await end(task)
    assert link.log == ["open", "close"]


@pytest.mark.parametrize(
    ("error", "seconds"),
    [(BrokerRefusedError("wrong password"), (10.0, 15.0)), (BrokerUnavailableError("away"), (0.0, 2.0))],
)
async def test_a_refusal_is_tried_again_at_a_slower_pace_than_a_broker_that_is_away(
    link: FakeLink, caplog: pytest.LogCaptureFixture, error: Exception, seconds: tuple[float, float]
) -> None:
    supervisor = Supervisor(link, "consumer")
    link.errors = [error] * 1000
    task = asyncio.create_task(supervisor.run())
    await eventually(lambda: supervisor.detail == str(error), "it has failed")
    found = re.search(r"trying again in ([0-9.]+) s", caplog.text)
    assert found is not None
    assert seconds[0] <= float(found[1]) <= seconds[1]
    await end(task)
