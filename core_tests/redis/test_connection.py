"""Connections to private servers: who is let in, and what is refused in which words."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from redis.asyncio import Redis

from app.queue.errors import BrokerRefusedError, BrokerUnavailableError, PublishError
from app.queue.interfaces import Place
from app.queue.providers.redis import connection
from app.queue.setup import get_dead_letters, get_health_check
from core_tests.redis.private import SECRET, Start, order, publisher, refusal, works
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.ports import free_port
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]


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
    "resetchannels -@all ~q ~retry_q_delayed ~quarantine_q ~dlq_q ~parked_q +ping +info +select "
    "+eval +evalsha +exists +time +xadd +xack +xdel +xlen +xpending +xclaim +xautoclaim +xreadgroup "
    "+xinfo|groups +xinfo|consumers +xgroup|create +xgroup|delconsumer +zadd +zrem +zrange +zrangebyscore "
    "+pttl +xrange"
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
        for place in (Place.DLQ, Place.PARKED, Place.QUARANTINE):
            reader = get_dead_letters(config, place)
            assert await reader.receive() is None
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
