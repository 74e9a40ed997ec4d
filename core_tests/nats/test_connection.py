"""Connections to private servers: who is let in, what is refused in which words, and links that die."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.queue.errors import BrokerError, BrokerRefusedError, BrokerUnavailableError, PublishError
from app.queue.interfaces import QueuePublisher
from app.queue.messages.message import places
from app.queue.processor import MessageProcessor
from app.queue.setup import get_consumer, get_dead_letters, get_health_check, get_processor, get_publisher
from core_tests.nats.conftest import Start
from core_tests.tools.authority import Authority
from core_tests.tools.example import UserHandler, audio, queue_config, running
from core_tests.tools.nats_streams import jetstream
from core_tests.tools.ports import free_port
from core_tests.tools.proxy import Proxy
from core_tests.tools.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SECRET = "s3cret-hunter2"


@asynccontextmanager
async def publisher(url: str | list[str], **keys: Any) -> AsyncIterator[QueuePublisher]:
    made = get_publisher(queue_config("q", "nats", broker_url=url, **keys))
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


# --- who is let in


async def test_a_user_and_a_password(start: Start) -> None:
    port = start(f'authorization {{ user: bob, password: "{SECRET}" }}').port
    assert await works("localhost", port=port, username="bob", password=SECRET)
    assert await works(f"nats://bob:{SECRET}@127.0.0.1:{port}")
    for url, who in (
        (f"nats://bob:wrong@127.0.0.1:{port}", "user 'bob'"),
        (f"127.0.0.1:{port}", "a client without username and password"),
    ):
        said = f"NATS at 127.0.0.1:{port}: {who} is refused; check username and password"
        await eventually(partial(is_refused, url, said), said)


async def is_refused(url: str | list[str], said: str) -> bool:
    """The server closes at once, and a reset may overtake what it had to say: then the next try hears it."""
    error = await refusal(url)
    return isinstance(error, BrokerRefusedError) and str(error) == said


async def test_a_user_who_may_not_publish_is_told_so(start: Start) -> None:
    users = f'{{ user: bob, password: "{SECRET}", permissions: {{ publish: {{ deny: ["q", "OTHER"] }} }} }}'
    port = start(f"authorization {{ users: [{users}] }}").port
    async with publisher(f"nats://bob:{SECRET}@127.0.0.1:{port}", publish_timeout=1) as made:
        for queue in ("q", "OTHER"):
            with pytest.raises(PublishError, match=f"no permission to publish to '{queue.lower()}'"):
                await made.publish_message(queue, audio())


async def test_a_user_who_may_not_receive_answers_is_told_so(start: Start) -> None:
    users = f'{{ user: bob, password: "{SECRET}", permissions: {{ subscribe: "other" }} }}'
    port = start(f"authorization {{ users: [{users}] }}").port
    error = await refusal(f"nats://bob:{SECRET}@127.0.0.1:{port}")
    assert isinstance(error, BrokerRefusedError)
    assert "no permission to subscribe to '_INBOX.>'" in str(error)


RIGHTS = [
    "q",
    "retry_q_delayed",
    "quarantine_q",
    "dlq_q",
    "parked_q",
    "$JS.API.STREAM.CREATE.*",
    "$JS.API.STREAM.INFO.*",
    "$JS.API.CONSUMER.DURABLE.CREATE.*.*",
    "$JS.API.CONSUMER.INFO.*.*",
    "$JS.API.CONSUMER.MSG.NEXT.*.service",
    "$JS.API.CONSUMER.DELETE.*.service",
    "$JS.ACK.>",
]
"""As in docs/nats.md."""


async def test_a_user_with_the_documented_rights_has_all_that_are_needed(start: Start) -> None:
    publish = ", ".join(f'"{right}"' for right in RIGHTS)
    permissions = f'permissions: {{ publish: [{publish}], subscribe: ["_INBOX.>"] }}'
    port = start(f"authorization {{ users: [{{ user: bob, password: pw, {permissions} }}] }}").port
    attempts = 0

    def behave(_: object) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3:
            raise RuntimeError("no")

    for declare in (True, False):
        attempts = 0
        handler = UserHandler(behave)
        config = queue_config(
            "q", "nats", broker_url=f"nats://bob:pw@127.0.0.1:{port}", declare=declare, dlq={"retry_interval": 0.5}
        )
        if declare:
            for place in places(enable_dlq=True):  # readers make the consumers of the places
                reader = get_dead_letters(config, place)
                await reader.depth()
                await reader.close()
        async with running((config, handler)) as service:
            await get_health_check(config).probe()
            await service.publisher("q").publish_message("q", audio())
            await eventually(lambda: len(handler.handled) == 1, "it came back from the DLQ, and is handled")  # noqa: B023 - awaited before the next round
    async with jetstream(f"nats://bob:pw@127.0.0.1:{port}") as streams:
        assert await streams.delete_consumer("q", "service"), "one that gives nothing is made anew"


async def test_a_server_without_jetstream_says_so(start: Start) -> None:
    node = start("accounts { A: { users: [ { user: bob, password: pw } ] } }")
    error = await refusal(f"nats://bob:pw@127.0.0.1:{node.port}")
    assert "JetStream" in str(error)


async def test_several_servers_are_tried_until_one_answers(start: Start) -> None:
    node = start()
    dead = f"127.0.0.1:{free_port()}"
    for _ in range(4):
        assert await works([dead, node.url, dead])
    assert isinstance(await refusal([dead, dead]), BrokerUnavailableError)


async def test_of_several_answers_a_refusal_is_told(start: Start) -> None:
    node = start(f'authorization {{ user: bob, password: "{SECRET}" }}')
    servers = [f"127.0.0.1:{free_port()}", f"nats://bob:wrong@127.0.0.1:{node.port}"]
    said = f"NATS at 127.0.0.1:{node.port}: user 'bob' is refused; check username and password"
    await eventually(partial(is_refused, servers, said), said)


async def test_something_else_on_the_port_is_told(start: Start) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        error = await refusal(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert "no NATS server" in str(error)


# --- TLS


class ServerAuthority(Authority):
    """With the lines of a server's configuration."""

    def server(self, files: dict[str, str], more: str = "") -> str:
        """Lines of a server's configuration."""
        return f'tls {{ cert_file: "{files["certfile"]}", key_file: "{files["keyfile"]}"{more} }}'


@pytest.fixture
def authority(tmp_path: Path) -> ServerAuthority:
    return ServerAuthority(tmp_path)


async def test_tls_with_a_private_authority(start: Start, authority: ServerAuthority) -> None:
    port = start(authority.server(authority.issue("server"))).port
    trusting = {"cafile": authority.cafile}
    assert await works("localhost", port=port, ssl=True, ssl_context=trusting)
    assert await works(f"tls://localhost:{port}", ssl_context=trusting)
    assert await works(f"tls://127.0.0.1:{port}", ssl_context={**trusting, "check_hostname": False})
    assert "cafile must name the authority" in str(await refusal(f"tls://localhost:{port}"))
    assert "its certificate is refused" in str(await refusal(f"tls://127.0.0.1:{port}", ssl_context=trusting))
    assert "cafile must name the authority" in str(await refusal(f"localhost:{port}")), "TLS that nobody asked for"


async def test_an_expired_certificate_is_refused(start: Start, authority: ServerAuthority) -> None:
    port = start(authority.server(authority.issue("server", expired=True))).port
    error = await refusal(f"tls://localhost:{port}", ssl_context={"cafile": authority.cafile})
    assert isinstance(error, BrokerRefusedError)
    assert "certificate has expired" in str(error)


async def test_a_server_that_demands_a_certificate(start: Start, authority: ServerAuthority, tmp_path: Path) -> None:
    demanding = f', ca_file: "{authority.cafile}", verify: true'
    port = start(authority.server(authority.issue("server"), demanding)).port
    trusting = {"cafile": authority.cafile}
    assert await works(f"tls://localhost:{port}", ssl_context={**trusting, **authority.issue("us", "the.service")})
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger").issue("stranger", "the.service")
    for context in (trusting, {**trusting, **stranger}):
        error = await refusal(f"tls://localhost:{port}", ssl_context=context)
        assert "certificate" in str(error)
        assert isinstance(error, BrokerRefusedError)


async def test_a_password_is_never_sent_to_a_server_that_speaks_no_tls(authority: ServerAuthority) -> None:
    heard: list[bytes] = []

    async def propose_no_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x","version":"2.9.10","headers":true,"max_payload":1048576}\r\n')
        await writer.drain()
        heard.append(await reader.read(1000))
        writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(propose_no_tls, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        context = {"cafile": authority.cafile}
        error = await refusal(f"tls://bob:{SECRET}@localhost:{port}", ssl_context=context)
        assert "does not speak TLS" in str(error)
        await eventually(lambda: len(heard) > 0, "the client has gone")
        assert heard == [b""]
        assert "does not speak TLS" in str(await refusal(f"tls://localhost:{port}", ssl_context=context))


# --- links that die


async def test_a_link_that_goes_silent_is_found_lost_by_the_health_check(start: Start) -> None:
    proxy = Proxy(start().port)
    try:
        # nats-py's own pings would find it after a long time only
        config = queue_config("q", "nats", broker_url=f"127.0.0.1:{proxy.port}", heartbeat=3600)
        handler = UserHandler()
        async with running((config, handler)) as service:
            await service.publisher("q").publish_message("q", audio(1))
            await eventually(lambda: len(handler.handled) == 1, "it is handled")
            proxy.mode("silent")
            await eventually(lambda: service.health().status == "unhealthy", "it is noticed")
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
                assert "lost" in await made.lost()
            assert made.state == "down"
            proxy.mode("pass")
            await made.publish_message("q", audio())
    finally:
        proxy.close()


async def test_what_waits_on_a_link_that_breaks_is_told_at_once(start: Start) -> None:
    node = start()
    proxy = Proxy(node.port)
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


@pytest.mark.parametrize("mode", ["freeze", "refuse"])
async def test_closing_ends_in_bounded_time_over_a_dead_link(start: Start, mode: Any) -> None:
    proxy = Proxy(start().port)
    try:
        config = queue_config("q", "nats", broker_url=f"127.0.0.1:{proxy.port}", publish_timeout=1)
        consumer, processor = get_consumer(config, MessageProcessor()), get_processor(config)
        got: list[Any] = []

        async def keep(delivery: Any) -> None:
            got.append(delivery)

        consumer.on_delivery = keep
        await consumer.open()
        async with publisher(f"127.0.0.1:{proxy.port}", publish_timeout=1) as made:
            await made.publish_message("q", audio())
            await eventually(lambda: len(got) == 1, "it is in flight")
            proxy.mode(mode)
            for _ in range(5):  # more than the buffers of the system hold
                with pytest.raises(BrokerError):
                    await made.publish_message("q", audio(content="x" * 1_000_000))
            with pytest.raises(BrokerError):
                await processor.ack(got[0])
            async with asyncio.timeout(10):
                await asyncio.gather(consumer.close(), processor.close(), made.close())
        gc.collect()  # a socket that was left open would be an error now
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind")
    finally:
        proxy.close()


async def test_links_that_break_under_load_leave_nothing_behind(start: Start) -> None:
    proxy = Proxy(start().port)
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
        await eventually(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "nothing is left behind")
    finally:
        proxy.close()


async def test_a_server_that_dies_is_told_by_the_next_probe(start: Start) -> None:
    node = start()
    async with publisher(node.url) as made:
        await made.open()
        health = get_health_check(queue_config("q", "nats", broker_url=node.url))
        await health.probe()
        node.kill()
        await eventually(lambda: made.state == "down", "the loss is seen")
        with pytest.raises(BrokerUnavailableError, match=r"refused|failed"):
            await made.open()
