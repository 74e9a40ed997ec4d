"""Connections to private servers: who is let in, what is refused in which words, and links that die."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from redis.asyncio import Redis

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError, PublishError
from app.queue.interfaces import Place, QueuePublisher
from app.queue.processor import MessageProcessor
from app.queue.providers.redis import connection
from app.queue.setup import get_consumer, get_dead_letters, get_health_check, get_processor, get_publisher
from tests.tools.example import UserHandler, audio, queue_config, running
from tests.tools.ports import free_port
from tests.tools.proxy import Proxy
from tests.tools.redis_node import RedisNode
from tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]

Start = Callable[..., RedisNode]
SECRET = "s3cret-hunter2"


@asynccontextmanager
async def publisher(url: str | list[str], **keys: Any) -> AsyncIterator[QueuePublisher]:
    made = get_publisher(queue_config("q", "redis", broker_url=url, **keys))
    try:
        yield made
    finally:
        await made.close()


async def works(url: str | list[str], **keys: Any) -> bool:
    async with publisher(url, **keys) as made:
        return bool(await made.publish_message("q", audio()))


async def refusal(url: str | list[str], **keys: Any) -> BrokerError:
    async with publisher(url, **keys) as made:
        with pytest.raises(BrokerError) as caught:
            await made.open()
    assert SECRET not in str(caught.value)
    return caught.value


async def order(node: RedisNode, *command: str | int) -> None:
    """Have the server do something."""
    client: Any = Redis.from_url(node.url)
    async with client:
        await client.execute_command(*command)


# --- who is let in


async def test_a_password_alone(start: Start) -> None:
    node = start()
    await order(node, "CONFIG", "SET", "requirepass", SECRET)
    port = node.port
    assert await works("localhost", port=port, password=SECRET)
    assert await works(f"redis://:{SECRET}@127.0.0.1:{port}")
    error = await refusal(f"redis://:wrong@127.0.0.1:{port}")
    assert isinstance(error, BrokerRefusedError)
    assert str(error) == f"Redis at 127.0.0.1:{port}: the password is refused; check username and password"
    assert "a client without password is refused" in str(await refusal(f"127.0.0.1:{port}"))


async def test_a_password_that_nobody_asked_for(start: Start) -> None:
    assert "it asks for no password" in str(await refusal("127.0.0.1", port=start().port, password=SECRET))


async def test_a_user_of_an_acl(start: Start) -> None:
    node = start()
    await order(node, "ACL", "SETUSER", "bob", "on", f">{SECRET}", "~*", "+@all")
    await order(node, "ACL", "SETUSER", "default", "off")
    assert await works("localhost", port=node.port, username="bob", password=SECRET)
    assert await works(f"redis://bob:{SECRET}@127.0.0.1:{node.port}")
    error = await refusal(f"redis://bob:wrong@127.0.0.1:{node.port}")
    assert isinstance(error, BrokerRefusedError)
    assert "user 'bob' is refused; check username and password" in str(error)


RIGHTS = (
    "resetchannels -@all ~q ~retry_q_delayed ~retry_q_crashed ~dlq_q ~parked_q +ping +info +select "
    "+eval +evalsha +exists +time +xadd +xack +xdel +xlen +xpending +xclaim +xautoclaim +xreadgroup "
    "+xinfo|groups +xinfo|consumers +xgroup|create +xgroup|delconsumer +zadd +zrem +zrange +zrangebyscore"
)
"""As in docs/redis.md."""


async def test_a_user_with_the_documented_rights_has_all_that_are_needed(start: Start) -> None:
    node = start()
    await order(node, "ACL", "SETUSER", "bob", "on", f">{SECRET}", *RIGHTS.split())
    attempts = 0

    def behave(_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise RuntimeError("no")

    handler = UserHandler(behave)
    url = f"redis://bob:{SECRET}@127.0.0.1:{node.port}"
    config = queue_config("q", "redis", broker_url=url, ack_wait=1, dlq={"retry_interval": 0.5})
    async with running((config, handler)) as service:
        await get_health_check(config).probe()
        await service.publisher("q").publish_message("q", audio())
        await eventually(lambda: len(handler.handled) == 1, "it came back from the DLQ, and is handled")
        for place in (Place.DLQ, Place.PARKED, Place.SUSPECTS):
            reader = get_dead_letters(config, place)
            assert await reader.take() is None
            assert await reader.depth() == 0
            await reader.close()


async def test_a_user_who_may_not_is_told_what(start: Start) -> None:
    node = start()
    for user, rights in (
        ("keyless", RIGHTS.replace("~q ", "")),
        ("blind", RIGHTS.replace("+info ", "")),
        ("mute", RIGHTS.replace("+xadd ", "")),
        ("idle", RIGHTS.replace("+xgroup|create ", "")),
    ):
        await order(node, "ACL", "SETUSER", user, "on", ">pw", *rights.split())
    for user in ("keyless", "blind", "idle"):
        error = await refusal(f"redis://{user}:pw@127.0.0.1:{node.port}")
        assert isinstance(error, BrokerRefusedError)
        assert "no permission: " in str(error)
        assert "docs/redis.md lists what a user needs" in str(error)
    assert await works(node.url)
    async with publisher(f"redis://mute:pw@127.0.0.1:{node.port}") as made:
        with pytest.raises(PublishError, match=r"no permission: .*xadd.*nothing was stored"):
            await made.publish_message("q", audio())


# --- which servers


async def test_several_servers_are_tried_in_order_until_one_answers(start: Start) -> None:
    first, second = start(), start()
    dead = f"127.0.0.1:{free_port()}"
    assert await works([dead, first.url, second.url])
    async with Redis.from_url(first.url) as one, Redis.from_url(second.url) as other:
        assert (await one.exists("q"), await other.exists("q")) == (1, 0)
    assert isinstance(await refusal([dead, dead]), BrokerUnavailableError)


async def test_of_several_answers_a_refusal_is_told(start: Start) -> None:
    node = start()
    await order(node, "CONFIG", "SET", "requirepass", SECRET)
    error = await refusal([f"127.0.0.1:{free_port()}", f"redis://:wrong@127.0.0.1:{node.port}"])
    assert isinstance(error, BrokerRefusedError)


async def test_a_replica_is_passed_over_and_a_master_that_becomes_one_is_left(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = start(), start()
    urls = [first.url, second.url]
    handler = UserHandler()
    await order(second, "REPLICAOF", "127.0.0.1", first.port)
    assert "it is a replica; broker_url must name the master" in str(await refusal(second.url))
    # Each has a connection of its own, so each has to find out for itself.
    only_consuming = queue_config("q", "redis", broker_url=urls, enable_publisher=False)
    async with publisher(urls) as made, running((only_consuming, handler)):
        await made.publish_message("q", audio(1))
        await eventually(lambda: len(handler.handled) == 1, "it is handled")
        await order(second, "REPLICAOF", "NO", "ONE")
        await order(first, "REPLICAOF", "127.0.0.1", second.port)

        async def published() -> bool:
            with suppress(PublishError):
                return bool(await made.publish_message("q", audio(2)))
            return False

        await eventually(published, "the new master takes it")
        await eventually(lambda: {message.user_id for message in handler.handled} == {1, 2}, "it is handled")
    assert caplog.text.count("connecting again") == 1, "it did not try the replica again"


async def test_the_database_can_be_chosen(start: Start) -> None:
    node = start()
    assert await works(f"redis://127.0.0.1:{node.port}/3")
    assert await works("127.0.0.1", port=node.port, database=5)
    async with Redis.from_url(node.url) as client:
        assert set(await client.info("keyspace")) == {"db3", "db5"}
    error = await refusal(f"redis://127.0.0.1:{node.port}/99")
    assert isinstance(error, BrokerRefusedError)
    assert "DB index is out of range" in str(error)


async def test_a_server_that_throws_messages_away_is_refused(start: Start) -> None:
    node = start({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"})
    error = await refusal(node.url)
    assert isinstance(error, BrokerRefusedError)
    assert "with maxmemory-policy allkeys-lru it throws messages away" in str(error)
    async with Redis.from_url(node.url) as client:
        for policy, memory in (("noeviction", "100mb"), ("volatile-lru", "100mb"), ("allkeys-lru", "0")):
            await client.config_set("maxmemory-policy", policy)
            await client.config_set("maxmemory", memory)
            assert await works(node.url)


async def test_a_server_in_cluster_mode_is_refused(start: Start) -> None:
    error = await refusal(start({"cluster-enabled": "yes", "cluster-port": free_port()}).url)
    assert isinstance(error, BrokerRefusedError)
    assert "it is in cluster mode, which this service does not support" in str(error)


async def test_a_server_that_writes_nothing_to_its_disk_is_warned_of_once(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_warned", set())
    node, forgetful = start(), start({"appendonly": "no"})
    for _ in range(3):
        assert await works(node.url)
    assert "appendonly is off" not in caplog.text
    for _ in range(3):
        assert await works(forgetful.url)
    assert caplog.text.count("appendonly is off, so a restart of Redis loses all messages") == 1


@pytest.mark.parametrize(
    "greeting", [b"220 mail.example.com ESMTP\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b":x\r\n"]
)
async def test_something_else_on_the_port_is_told(greeting: bytes) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        error = await refusal(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "no Redis server" in str(error)


# --- TLS


class Authority:
    """Signs certificates, and writes them to files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ca = trustme.CA()
        self.cafile = str(folder / "authority.pem")
        self._ca.cert_pem.write_to_path(self.cafile)

    def issue(self, name: str, identity: str = "localhost", *, expired: bool = False) -> dict[str, str]:
        """A certificate and its key, as keys of `ssl_context`."""
        day = timedelta(days=1)
        end = datetime.now(UTC) + (-day if expired else day)
        issued = self._ca.issue_cert(identity, not_before=end - 2 * day, not_after=end)
        files = {"certfile": str(self._folder / f"{name}.pem"), "keyfile": str(self._folder / f"{name}-key.pem")}
        issued.cert_chain_pems[0].write_to_path(files["certfile"])
        issued.private_key_pem.write_to_path(files["keyfile"])
        return files

    def server(self, port: int, files: dict[str, str], demands: str = "no") -> dict[str, object]:
        """Options of a server, which speaks TLS on `port`."""
        return {
            "tls-port": port,
            "tls-cert-file": files["certfile"],
            "tls-key-file": files["keyfile"],
            "tls-ca-cert-file": self.cafile,
            "tls-auth-clients": demands,
        }


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_with_a_private_authority(start: Start, authority: Authority) -> None:
    port = free_port()
    node = start(authority.server(port, authority.issue("server")))
    trusting = {"cafile": authority.cafile}
    assert await works("localhost", port=port, ssl=True, ssl_context=trusting)
    assert await works(f"rediss://localhost:{port}", ssl_context=trusting)
    assert await works(f"rediss://127.0.0.1:{port}", ssl_context={**trusting, "check_hostname": False})
    assert "cafile must name the authority" in str(await refusal(f"rediss://localhost:{port}"))
    assert "its certificate is refused" in str(await refusal(f"rediss://127.0.0.1:{port}", ssl_context=trusting))
    assert "does it speak TLS" in str(await refusal(f"redis://localhost:{port}"))
    assert "does it speak TLS on this port?" in str(
        await refusal(f"rediss://localhost:{node.port}", ssl_context=trusting)
    )
    handler = UserHandler()
    config = queue_config("q", "redis", broker_url=f"rediss://localhost:{port}", ssl_context=trusting)
    async with running((config, handler)):
        await eventually(lambda: len(handler.handled) == 3, "what was published is handled, over TLS too")


async def test_an_expired_certificate_is_refused(start: Start, authority: Authority) -> None:
    port = free_port()
    start(authority.server(port, authority.issue("server", expired=True)))
    error = await refusal(f"rediss://localhost:{port}", ssl_context={"cafile": authority.cafile})
    assert isinstance(error, BrokerRefusedError)
    assert "certificate has expired" in str(error)


async def test_a_server_that_demands_a_certificate(start: Start, authority: Authority, tmp_path: Path) -> None:
    port = free_port()
    start(authority.server(port, authority.issue("server"), demands="yes"))
    trusting = {"cafile": authority.cafile}
    assert await works(f"rediss://localhost:{port}", ssl_context={**trusting, **authority.issue("us", "the.service")})
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger").issue("stranger", "the.service")
    for context in (trusting, {**trusting, **stranger}):
        error = await refusal(f"rediss://localhost:{port}", ssl_context=context)
        assert "certificate" in str(error)
        assert isinstance(error, BrokerRefusedError)


async def test_a_password_is_never_sent_to_a_server_that_speaks_no_tls(authority: Authority) -> None:
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"+OK\r\n")
        heard.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refusal(f"rediss://bob:{SECRET}@localhost:{port}", ssl_context={"cafile": authority.cafile})
        assert "does not speak TLS" in str(error)
        await eventually(lambda: len(heard) == 2, "the client has gone")
    assert SECRET.encode() not in b"".join(heard)


# --- links that die


@pytest.mark.parametrize("mode", ["silent", "freeze"])
async def test_a_link_that_goes_silent_is_found_lost_by_the_health_check(start: Start, mode: Any) -> None:
    proxy = Proxy(start().port)
    try:
        config = queue_config("q", "redis", broker_url=f"127.0.0.1:{proxy.port}", heartbeat=3600)
        handler = UserHandler()
        async with running((config, handler)) as service:
            await service.publisher("q").publish_message("q", audio(1))
            await eventually(lambda: len(handler.handled) == 1, "it is handled")
            proxy.mode(mode)
            await eventually(lambda: service.health().status == "unhealthy", "it is noticed")
            proxy.mode("pass")
            await eventually(lambda: service.health().status == "healthy", "there is another link")
            await service.publisher("q").publish_message("q", audio(2))
            await eventually(lambda: len(handler.handled) == 2, "it is handled")
    finally:
        proxy.close()


async def test_a_link_that_goes_silent_is_lost_without_a_health_check_too(start: Start) -> None:
    proxy = Proxy(start().port)
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", heartbeat=1) as made:
            await made.open()
            proxy.mode("freeze")
            async with asyncio.timeout(30):
                assert "has not answered" in await made.lost()
            assert made.state == "down"
            proxy.mode("pass")
            await made.publish_message("q", audio())
    finally:
        proxy.close()


async def test_a_quiet_link_is_kept_and_asked_once_a_heartbeat(start: Start) -> None:
    node = start()
    async with publisher(node.url, heartbeat=2) as made, Redis.from_url(node.url) as client:
        await made.open()
        await client.config_resetstat()
        lost = asyncio.create_task(made.lost())
        await asyncio.sleep(6)
        assert not lost.done()
        lost.cancel()
        assert 1 <= (await client.info("commandstats"))["cmdstat_ping"]["calls"] <= 3


async def test_what_waits_on_a_link_that_breaks_is_told_at_once(start: Start) -> None:
    proxy = Proxy(start().port)
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", publish_timeout=60) as made:
            await made.open()
            proxy.mode("freeze")
            publishing = asyncio.create_task(made.publish_message("q", audio()))
            await asyncio.sleep(0.2)
            began = time.monotonic()
            proxy.mode("refuse")
            with pytest.raises(PublishError) as caught:
                await publishing
            assert caught.value.may_have_landed
            assert time.monotonic() - began < 20
    finally:
        proxy.close()


def sockets() -> int:
    """How many sockets the running loop looks after."""
    loop: Any = asyncio.get_running_loop()
    return len(loop._selector.get_map())


@pytest.mark.parametrize("mode", ["freeze", "refuse"])
async def test_closing_ends_in_bounded_time_over_a_dead_link(start: Start, mode: Any) -> None:
    proxy = Proxy(start().port)
    before = sockets()
    try:
        config = queue_config("q", "redis", broker_url=f"127.0.0.1:{proxy.port}", publish_timeout=1)
        consumer, processor = get_consumer(config, MessageProcessor()), get_processor(config)
        got: list[Any] = []

        async def keep(delivery: Any) -> None:
            got.append(delivery)

        consumer.on_delivery = keep
        await consumer.open()
        async with publisher(f"127.0.0.1:{proxy.port}", publish_timeout=1) as made:
            await made.publish_message("q", audio())
            await eventually(lambda: len(got) == 1, "it is in hand")
            proxy.mode(mode)
            for _ in range(5):  # more than the buffers of the system hold
                with pytest.raises(BrokerError):
                    await made.publish_message("q", audio(content="x" * 1_000_000))
            with pytest.raises(BrokerError):
                await processor.ack(got[0])
            async with asyncio.timeout(10):
                await asyncio.gather(consumer.close(), processor.close(), made.close())
        gc.collect()
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left behind")
        await eventually(lambda: sockets() == before, "and no socket")
    finally:
        proxy.close()


async def test_links_that_break_under_load_leave_nothing_behind(start: Start) -> None:
    proxy = Proxy(start().port)
    before = sockets()
    try:
        async with publisher(f"127.0.0.1:{proxy.port}", circuit_breaker={"fail_max": 1000}) as made:
            ended = False

            async def publish_on() -> None:
                while not ended:
                    with suppress(PublishError):
                        await made.publish_message("q", audio(content="x" * 20_000))

            publishing = [asyncio.create_task(publish_on()) for _ in range(20)]
            for _ in range(10):
                await asyncio.sleep(0.2)
                proxy.drop()
            ended = True
            await asyncio.gather(*publishing)
        gc.collect()
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left behind")
        await eventually(lambda: sockets() == before, "and no socket")
    finally:
        proxy.close()


async def test_a_server_that_dies_is_told_by_the_next_probe(start: Start) -> None:
    node = start()
    async with publisher(node.url) as made:
        await made.open()
        health = get_health_check(queue_config("q", "redis", broker_url=node.url))
        await health.probe()
        node.kill()
        await eventually(lambda: made.state == "down", "the loss is seen")
        with pytest.raises(BrokerUnavailableError, match=r"refused|failed"):
            await made.open()
