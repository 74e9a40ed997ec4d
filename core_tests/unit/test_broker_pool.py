"""One connection for each event loop and broker: opened once, shared, counted, asked, closed after the last."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import ClassVar
from weakref import WeakSet

import pytest

from app.queue.broker import connection
from app.queue.broker.link import BrokerLink
from app.queue.broker.pool import PoolHealthCheck
from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError
from app.queue.settings.broker import URLRules
from core_tests.tools.fake_broker import FakeConfig, FakeConnection, FakePool, fake_config
from core_tests.tools.waiting import eventually


class FakeHealthCheck(PoolHealthCheck):
    """Asks for one purpose."""

    pool = FakePool


class WithDatabase(FakeConfig):
    """A URL of this kind of broker names a database."""

    url_rules: ClassVar[URLRules] = URLRules("fake", "fakes", 1000, 2000, path_key="database")
    database: str = "main"


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePool, "made", [])
    monkeypatch.setattr(FakeConnection, "refusals", {})


async def test_links_of_one_broker_share_a_connection_and_the_last_one_closes_it() -> None:
    links = [BrokerLink(FakePool, fake_config()) for _ in range(5)]
    await asyncio.gather(*(link.open() for link in links))
    (made,) = FakePool.made
    assert made.users == 5
    assert all(link.is_open and link.connection is made for link in links)
    for link in links[1:]:
        await link.close()
        await link.close()  # the second time it counts for nothing
    assert made.is_open
    await links[0].close()
    assert made.closes == 1
    await links[0].open()
    assert len(FakePool.made) == 2
    await links[0].close()


@pytest.mark.parametrize(
    "keys",
    [
        {"broker_url": "other"},
        {"port": 5},
        {"username": "bob", "password": "pw"},
        {"broker_url": "bob:pw@localhost"},
        {"heartbeat": 5},
        {"ssl": True},
    ],
)
async def test_queues_that_differ_in_who_they_are_or_where_share_nothing(keys: dict[str, object]) -> None:
    one, other = BrokerLink(FakePool, fake_config()), BrokerLink(FakePool, fake_config(**keys))
    await one.open()
    await other.open()
    assert len(FakePool.made) == 2
    await one.close()
    await other.close()


async def test_the_log_says_which_broker_it_is_and_no_password(caplog: pytest.LogCaptureFixture) -> None:
    config = WithDatabase(name="q", type="fake", broker_url="fake://bob:secret@rabbit:5673/staging")
    link = BrokerLink(FakePool, config)
    with caplog.at_level("INFO"):
        await link.open()
    await link.close()
    assert caplog.messages == ["connected to rabbit:5673, database 'staging'"]


async def test_two_purposes_have_two_connections() -> None:
    one, other = BrokerLink(FakePool, fake_config(), "read"), BrokerLink(FakePool, fake_config(), "write")
    await one.open()
    await other.open()
    assert one.connection is not other.connection
    await one.close()
    await other.close()


def test_two_event_loops_have_two_connections_and_none_outlives_its_loop() -> None:
    async def open_and_close() -> None:
        loops.add(asyncio.get_running_loop())
        links = [BrokerLink(FakePool, fake_config()) for _ in range(3)]
        await asyncio.gather(*(link.open() for link in links))
        barrier.wait()
        for link in links:
            await link.close()

    loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
    barrier = threading.Barrier(2)
    threads = [threading.Thread(target=lambda: asyncio.run(open_and_close())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(FakePool.made) == 2
    FakePool.made.clear()
    gc.collect()
    assert not loops


async def test_a_lost_connection_is_lost_for_all_its_links_and_the_next_open_makes_another() -> None:
    one, other = BrokerLink(FakePool, fake_config()), BrokerLink(FakePool, fake_config())
    await one.open()
    await other.open()
    losing = [asyncio.create_task(link.lost()) for link in (one, other)]
    first = one.connection
    first.lose("the plug was pulled")
    assert await asyncio.gather(*losing) == ["the plug was pulled"] * 2
    assert not one.is_open
    with pytest.raises(BrokerUnavailableError, match="not connected"):
        _ = one.connection
    await one.open()
    await other.open()
    assert one.connection is other.connection is not first
    assert (first.users, first.closes) == (0, 1)
    await one.close()
    await other.close()


async def test_a_link_that_is_given_up_leaves_the_connection_to_the_others() -> None:
    one, other = BrokerLink(FakePool, fake_config()), BrokerLink(FakePool, fake_config())
    assert await one.lost() == "not connected to the broker"
    await one.open()
    await other.open()
    one.lose("enough")
    assert await one.lost() == "enough"
    assert (one.is_open, other.is_open) == (False, True)
    await one.close()
    assert other.is_open
    await other.close()


async def test_a_link_that_can_not_open_all_it_has_lets_go_of_the_connection() -> None:
    class Session(BrokerLink[FakeConnection]):
        async def opened(self, connection: FakeConnection) -> None:
            assert not self.is_open
            raise BrokerRefusedError("no more sessions")

    link = Session(FakePool, fake_config())
    with pytest.raises(BrokerRefusedError):
        await link.open()
    assert FakePool.made[0].closes == 1


async def test_several_servers_are_tried_and_a_refusal_says_more_than_a_silence() -> None:
    FakeConnection.refusals = {"a": BrokerUnavailableError("a is silent"), "b": BrokerRefusedError("b says no")}
    hosts = set()
    for _ in range(30):
        link = BrokerLink(FakePool, fake_config(broker_url=["a", "b", "c", "d"]))
        await link.open()
        hosts.add(link.connection.server.host)
        await link.close()
    assert hosts == {"c", "d"}, "in any order, to share the load"
    for urls in (["a", "b"], ["b", "a"]):
        with pytest.raises(BrokerRefusedError, match="b says no"):
            await BrokerLink(FakePool, fake_config(broker_url=urls)).open()


async def test_in_order_the_first_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakePool, "in_order", True)
    FakeConnection.refusals = {"a": BrokerUnavailableError("a is silent")}
    for _ in range(10):
        link = BrokerLink(FakePool, fake_config(broker_url=["a", "b", "c"]))
        await link.open()
        assert link.connection.server.host == "b"
        await link.close()


async def test_health_asks_over_what_is_open_and_opens_nothing() -> None:
    config = fake_config()
    health = FakeHealthCheck("q", config)
    await health.probe()
    assert not FakePool.made
    link = BrokerLink(FakePool, config)
    await link.open()
    await health.probe()
    assert link.connection.asked == ["q"]
    link.connection._asked_at = 0.0
    link.connection.answers = [BrokerError("no")]
    with pytest.raises(BrokerError, match="no"):
        await health.probe()
    assert link.is_open
    await link.close()


async def test_a_connection_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 0.05)
    monkeypatch.setattr(connection, "LOOK_EVERY", 0.01)
    link = BrokerLink(FakePool, fake_config())
    await link.open()
    link.connection.answers = [None]
    with pytest.raises(BrokerUnavailableError, match=r"has not answered for 0\.05 s"):
        await FakeHealthCheck("q", fake_config()).probe()
    assert "has not answered" in await link.lost()
    await link.close()


async def test_a_loop_that_was_blocked_meanwhile_blames_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PROBE_TIMEOUT", 1.0)
    monkeypatch.setattr(connection, "SILENT_AFTER", 0.5)
    link = BrokerLink(FakePool, fake_config())
    await link.open()
    link.connection.answers = [0.1]
    probing = asyncio.create_task(FakeHealthCheck("q", fake_config()).probe())
    await asyncio.sleep(0)
    time.sleep(1.5)  # noqa: ASYNC251 - as a handler does
    await asyncio.sleep(0)
    assert link.answers
    await probing
    assert link.answers
    await link.close()


async def test_a_connection_is_silent_before_it_is_given_up_and_may_answer_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "SILENT_AFTER", 0.25)
    link = BrokerLink(FakePool, fake_config())
    await link.open()
    link.connection.answers = [1.0]
    probing = asyncio.create_task(FakeHealthCheck("q", fake_config()).probe())
    await eventually(lambda: not link.answers, "it is silent")
    assert link.is_open
    await probing
    assert link.answers
    await link.close()


async def test_one_probe_is_enough_for_all_queues_that_share_a_connection() -> None:
    link = BrokerLink(FakePool, fake_config())
    await link.open()
    await asyncio.gather(*(FakeHealthCheck(f"{number}", fake_config()).probe() for number in range(5)))
    assert len(link.connection.asked) == 1
    await link.close()
