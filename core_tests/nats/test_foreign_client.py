"""Messages of other clients, which know nothing of this service."""

from __future__ import annotations

import asyncio
import codecs
import gzip
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from nats.js import JetStreamContext

from app.queue.handling import current_delivery
from app.queue.setup import get_dead_letters
from core_tests.tools.consumer import dead_lettered
from core_tests.tools.example import SendAudioMessage, UserHandler, audio, queue_config, running
from core_tests.tools.waiting import eventually

pytestmark = pytest.mark.broker

BODY = json.dumps(audio()).encode()
HEADERS = [
    b"NATS/1.0\r\n\r\n",
    b"NATS/1.0 503\r\n\r\n",
    b"NATS/1.0 \xff\xfe\r\n\r\n",
    b"NATS/1.0 404 \xff\r\n\r\n",
    b"NATS/1.0",
    b"N",
    b"NATS/1.0 ",
    b"NATS/1.0\r\n\xff: x\r\n\r\n",
    b"NATS/1.0\r\nA: \xff\xfe\r\nB:\r\nC\r\n: d\r\n\r\n",
    b"NATS/1.0\r\na/b: c\r\nA: 1\r\nA: 2\r\nx\ry: z\r\n\r\n",
    b"NATS/1.0\r\nqueue-attempts: -5\r\nqueue-crashes: x\r\nqueue-delay: nan\r\nmessage-id:\r\n\r\n",
    b'NATS/1.0\r\nqueue-headers: {"tag": "\\ud800", "message-id": "\\udfff"}\r\n\r\n',
    b"NATS/1.0\r\nNats-Msg-Id: theirs\r\nNats-Stream: other\r\nNats-Sequence: 99\r\n\r\n",
]


def fail(_: SendAudioMessage) -> None:
    raise RuntimeError("no")


async def send_raw(url: str, subject: str, headers: list[bytes], body: bytes) -> None:
    """Publish byte by byte, as no client library would."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    await reader.readline()
    connect = {"verbose": False, "headers": True, "user": parts.username, "pass": parts.password}
    writer.write(f"CONNECT {json.dumps(connect)}\r\n".encode())
    for block in headers:
        writer.write(f"HPUB {subject} {len(block)} {len(block) + len(body)}\r\n".encode() + block + body + b"\r\n")
    writer.write(b"PING\r\n")
    assert await asyncio.wait_for(reader.readline(), 10) == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


async def test_whatever_headers_a_message_has_it_is_handled(nats_url: str, queue_name: str) -> None:
    handler = UserHandler()
    async with running((queue_config(queue_name, "nats", broker_url=nats_url), handler)) as service:
        await send_raw(nats_url, queue_name, HEADERS, BODY)
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == len(HEADERS) + 1, "all are handled")
        assert service.health().status == "healthy"


async def test_whatever_headers_a_message_has_it_goes_to_the_dlq_and_back(nats_url: str, queue_name: str) -> None:
    attempts = 0

    def behave(_: SendAudioMessage) -> None:
        nonlocal attempts
        attempts += 1
        if attempts <= 3 * len(HEADERS):
            raise RuntimeError("no")

    handler = UserHandler(behave)
    config = queue_config(queue_name, "nats", broker_url=nats_url, dlq={"retry_interval": 1}, pause={"after": 0})
    async with running((config, handler)):
        await send_raw(nats_url, queue_name, HEADERS, BODY)
        await eventually(lambda: len(handler.handled) == len(HEADERS), "all came back from the DLQ and are handled")


async def test_a_message_without_headers_has_an_id_that_stays(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    handler = UserHandler(fail)
    async with running((queue_config(queue_name, "nats", broker_url=nats_url), handler)):
        await jetstream.publish(queue_name, BODY)
        await eventually(lambda: len(handler.attempts) == 3, "it was tried three times")
        assert len({name for name, _ in handler.attempts}) == 1
        assert [attempt for _, attempt in handler.attempts] == [1, 2, 3]


async def test_what_another_client_stored_under_an_id_keeps_that_id(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    seen: list[dict[str, object]] = []

    def note(_: SendAudioMessage) -> None:
        seen.append({"id": current_delivery().message_id, **current_delivery().headers})

    async with running((queue_config(queue_name, "nats", broker_url=nats_url), UserHandler(note))):
        await jetstream.publish(queue_name, BODY, headers={"Nats-Msg-Id": "theirs", "traceparent": "00-1"})
        await eventually(lambda: len(seen) == 1, "it is handled")
        assert seen == [{"id": "theirs", "traceparent": "00-1"}]


async def test_orders_to_the_server_in_a_message_are_not_given_again(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    handler = UserHandler(fail)
    config = queue_config(queue_name, "nats", broker_url=nats_url)
    async with running((config, handler)):
        orders = {"Nats-Expected-Stream": queue_name, "Nats-Msg-Id": "a", "Nats-Expected-Last-Sequence": "0"}
        await jetstream.publish(queue_name, BODY, headers=orders)
        await dead_lettered(config, 1)
        stored = await jetstream.get_msg(f"dlq_{queue_name}", 1)
        assert stored.headers is not None
        assert {name for name in stored.headers if name.startswith("Nats-")} == {"Nats-Msg-Id", "Nats-Expected-Stream"}
        assert stored.headers["Nats-Msg-Id"] != "a"


async def test_a_message_too_large_to_be_handed_over_holds_nobody_up(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    handler = UserHandler()
    keys = {"prefetch": 1, "concurrency": 1, "max_message_bytes": 1000}
    async with running((queue_config(queue_name, "nats", broker_url=nats_url, **keys), handler)) as service:
        huge = b"x" * (1024 * 1024 - len(HEADERS[0]))
        await send_raw(nats_url, queue_name, [HEADERS[0], HEADERS[0]], huge)
        await service.publisher(queue_name).publish_message(queue_name, audio())
        await eventually(lambda: len(handler.handled) == 1, "the message behind them is handled")
    said = [record for record in caplog.records if "is dropped" in record.getMessage()]
    assert [record.levelname for record in said] == ["ERROR", "ERROR"], "it fits nowhere, so it is logged whole"
    assert all(huge.decode() in record.getMessage() for record in said)
    assert "max_payload is 1048576" in caplog.text
    assert (await jetstream.stream_info(queue_name)).state.messages == 0


@pytest.mark.parametrize(
    ("room", "traceback", "text", "foreign"),
    [(6_000, 10_000, 900, True), (2_300, 200, 900, True), (1_300, 200, 200, True), (700, 0, 0, False)],
)
async def test_headers_are_left_out_in_stages_until_a_failed_message_fits(
    nats_url: str, queue_name: str, jetstream: JetStreamContext, room: int, traceback: int, text: int, foreign: bool
) -> None:
    def fail(_: SendAudioMessage) -> None:
        raise RuntimeError("z" * 900)

    keys: dict[str, Any] = {"max_message_bytes": 2_000_000, "retry": {"max_attempts": 1}}
    config = queue_config(queue_name, "nats", broker_url=nats_url, **keys)
    async with running((config, UserHandler(fail))):
        body = json.dumps(audio(content="x" * (1_048_576 - 100 - room - len(json.dumps(audio(content="")))))).encode()
        await jetstream.publish(queue_name, body, headers={"tenant": "7"})
        await dead_lettered(config, 1)
        dead_letters = get_dead_letters(config)
        delivery = await dead_letters.receive()
        assert delivery is not None
        headers = delivery.message.headers
        assert (delivery.message.body, headers["dlq-reason"]) == (body, "exhausted")
        assert len(headers.get("dlq-traceback", "")) <= traceback
        assert len(headers.get("dlq-exception-message", "")) == text
        assert ("tenant" in headers) is foreign is ("dlq-dropped-headers" not in headers)
        await dead_letters.close()


async def test_a_compressed_body_is_undone_for_the_handler_and_travels_with_its_header(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    def fail_one(message: SendAudioMessage) -> None:
        if message.user_id == 2:
            raise RuntimeError("no")

    handler = UserHandler(fail_one)
    config = queue_config(queue_name, "nats", broker_url=nats_url)
    bodies = [gzip.compress(json.dumps(audio(number)).encode()) for number in (1, 2, 3)]
    async with running((config, handler)):
        for body, encoding in zip(bodies, ("gzip", "gzip", "br"), strict=True):
            await jetstream.publish(queue_name, body, headers={"Content-Encoding": encoding})
        await jetstream.publish(queue_name, codecs.BOM_UTF8 + json.dumps(audio(4)).encode())
        await dead_lettered(config, 2)
        stored = [await jetstream.get_msg(f"dlq_{queue_name}", number) for number in (1, 2)]
    assert {message.user_id for message in handler.handled} == {1, 4}
    found = {((raw.headers or {})["dlq-reason"], (raw.headers or {})["Content-Encoding"], raw.data) for raw in stored}
    assert found == {("exhausted", "gzip", bodies[1]), ("bad_encoding", "br", bodies[2])}


async def test_a_dead_letter_that_is_published_again_has_fresh_attempts(
    nats_url: str, queue_name: str, jetstream: JetStreamContext
) -> None:
    handler = UserHandler(fail)
    config = queue_config(queue_name, "nats", broker_url=nats_url)
    async with running((config, handler)):
        await jetstream.publish(queue_name, BODY, headers={"message-id": "moved"})
        for moved in range(3):
            await dead_lettered(config, moved + 1)
            assert handler.attempts == [("moved", 1), ("moved", 2), ("moved", 3)] * (moved + 1)
            stored = await jetstream.get_msg(f"dlq_{queue_name}", moved + 1)
            headers = {name: value for name, value in (stored.headers or {}).items() if name != "Nats-Expected-Stream"}
            assert json.loads(headers["queue-headers"]).get("queue-replays", 0) == moved
            await jetstream.publish(queue_name, stored.data or b"", headers=headers)
        await eventually(lambda: len(handler.attempts) == 12, "it was tried again")
