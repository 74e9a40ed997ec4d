"""Many messages in one request, on the real server with the embedded provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from app.queue import api_batch
from app.queue.errors import MessageTooLargeError, PublishError
from app.queue.messages.message import Message
from app.queue.providers.memory.parts import MemoryPublisher
from core_tests.tools.example import UserHandler, audio
from core_tests.tools.server import API_KEY, serving
from core_tests.tools.waiting import eventually

PATH = "/queues/user_channel/messages:batch"
QUEUES: list[dict[str, Any]] = [
    {"name": "user_channel", "type": "memory", "max_message_bytes": 2000, "circuit_breaker": {"reset_timeout": 60}},
    {"name": "silent", "type": "memory", "enable_consumer": False, "enable_publisher": False},
    {"name": "foreign", "type": "memory", "enable_consumer": False},
]
Send = Callable[[MemoryPublisher, str, Message], Any]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def served_handler() -> UserHandler:
    return UserHandler()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory, served_handler: UserHandler
) -> AsyncIterator[httpx2.AsyncClient]:
    """One service for all tests of this module."""
    async with serving(tmp_path_factory.mktemp("batch"), QUEUES, {"user_channel": served_handler}) as client:
        yield client


@pytest.fixture
def client(served: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> httpx2.AsyncClient:
    monkeypatch.setenv("API_KEY", API_KEY)
    return served


@pytest.fixture
def handler(served_handler: UserHandler) -> UserHandler:
    served_handler.handled.clear()
    served_handler.attempts.clear()
    return served_handler


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> dict[str, Message]:
    """What the publishers were given, by id; it goes on its way all the same."""
    real, messages = MemoryPublisher.send, {}

    async def send(self: MemoryPublisher, queue: str, message: Message) -> None:
        messages[message.message_id] = message
        await real(self, queue, message)

    monkeypatch.setattr(MemoryPublisher, "send", send)
    return messages


def refusing(monkeypatch: pytest.MonkeyPatch, refused: Callable[[int], bool], error: Callable[[], Exception]) -> None:
    """The broker does not take the messages of these users."""
    real = MemoryPublisher.send

    async def send(self: MemoryPublisher, queue: str, message: Message) -> None:
        await asyncio.sleep(0)  # as a broker would, it answers later
        if refused(json.loads(message.body)["user_id"]):
            raise error()
        await real(self, queue, message)

    monkeypatch.setattr(MemoryPublisher, "send", send)


async def test_all_messages_of_an_array_are_accepted_and_handled(
    client: httpx2.AsyncClient, handler: UserHandler
) -> None:
    answer = await client.post(PATH, json=[audio(number) for number in range(1000)])
    assert answer.status_code == 202
    results = answer.json()["messages"]
    assert len({result["message_id"] for result in results}) == 1000
    assert all(result.keys() == {"status", "message_id"} and result["status"] == 202 for result in results)
    await eventually(lambda: len(handler.handled) == 1000, "they are handled")
    assert {message.user_id for message in handler.handled} == set(range(1000))


async def test_each_body_goes_on_its_way_byte_for_byte(client: httpx2.AsyncClient, sent: Mapping[str, Message]) -> None:
    bodies = [
        '{"type" :"x",  "n": 1e2, "n": 100.0}',
        '{"type":"x","text":"é\\u00e9 \u2028 ,]}\\" \\\\"}',
        '{\n\t"type": "x", "deep": [[{"a": []}], "[,"]\r\n}',
    ]
    content = "\ufeff \r\n[" + "\t,\n ".join(bodies) + " ] \n"
    headers = {"X-Message-Id": "abc", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    answer = await client.post("/queues/foreign/messages:batch", content=content.encode(), headers=headers)
    assert answer.json()["messages"] == [{"status": 202, "message_id": f"abc-{n}of3"} for n in (1, 2, 3)]
    assert [sent[f"abc-{n}of3"].body.decode() for n in (1, 2, 3)] == bodies
    assert {message.headers["traceparent"] for message in sent.values()} == {headers["traceparent"]}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "application/json", "text/plain"])
async def test_lines_are_messages_whatever_they_are_called(
    client: httpx2.AsyncClient, sent: Mapping[str, Message], kind: str
) -> None:
    lines = b'{"type":"x","n":1}\r\n\n  \n{"type":"x", "s":"\xe2\x80\xa8\\n"}\n{"type":"x"}'
    answer = await client.post("/queues/foreign/messages:batch", content=lines, headers={"Content-Type": kind})
    assert answer.status_code == 202
    ids = [result["message_id"] for result in answer.json()["messages"]]
    assert [sent[one].body for one in ids] == [line.strip(b"\r") for line in lines.split(b"\n") if line.strip()]


async def test_each_message_is_told_what_it_would_have_been_told_alone(
    client: httpx2.AsyncClient, handler: UserHandler
) -> None:
    batch = [audio(1), {"type": "unheard_of"}, audio(content="x" * 3000), 5, audio(2), {"no": "type"}]
    answer = await client.post(PATH, json=batch, headers={"X-Message-Id": "b"})
    assert answer.status_code == 207
    assert "Retry-After" not in answer.headers
    alone = [await client.post(PATH.removesuffix(":batch"), json=message) for message in batch]
    results = answer.json()["messages"]
    assert (
        [result["status"] for result in results] == [one.status_code for one in alone] == [202, 422, 413, 422, 202, 422]
    )
    assert [result["message_id"] for result in results] == [f"b-{n}of6" for n in range(1, 7)]
    assert [results[n]["detail"] for n in (1, 3, 5)] == [alone[n].json()["detail"] for n in (1, 3, 5)]
    await eventually(lambda: len(handler.handled) == 4, "the good ones are handled, of both requests")


@pytest.mark.parametrize(
    ("queue", "body", "headers", "status", "said"),
    [
        ("user_channel", [audio()], {"X-API-Key": "wrong"}, 401, "X-API-Key"),
        ("nobody", [audio()], {}, 404, "nobody"),
        ("silent", [audio()], {}, 409, "silent"),
        ("user_channel", b"", {}, 422, "no message"),
        ("user_channel", b"[]", {}, 422, "no message"),
        ("user_channel", b" \n\n", {}, 422, "no message"),
        ("user_channel", b"[{}", {}, 422, "',' or ']' expected at character 3"),
        ("user_channel", b"[{} {}]", {}, 422, "character 4"),
        ("user_channel", b"[{},]", {}, 422, "neither"),
        ("user_channel", b"[,{}]", {}, 422, "neither"),
        ("user_channel", b"[", {}, 422, "neither"),
        ("user_channel", b"[{}] x", {}, 422, "behind the array"),
        ("user_channel", b"[" * 200_000, {}, 422, "neither"),
        ("user_channel", b"[\xff]", {}, 422, "neither"),
        ("user_channel", b"5", {}, 422, "begins with neither"),
        ("user_channel", b' "x"\n{"type": "x"}', {}, 422, "begins with neither"),
        ("user_channel", [audio()] * 1001, {}, 422, "1000"),
        ("user_channel", [audio()], {"X-Message-Id": "a b"}, 422, "X-Message-Id"),
        ("user_channel", [audio()], {"X-Message-Id": ""}, 422, "X-Message-Id"),
        ("user_channel", [audio()], {"X-Message-Id": "x" * 118}, 422, "X-Message-Id"),
    ],
)
async def test_what_is_no_batch_is_refused_whole(
    client: httpx2.AsyncClient,
    handler: UserHandler,
    queue: str,
    body: Any,
    headers: dict[str, str],
    status: int,
    said: str,
) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    answer = await client.post(f"/queues/{queue}/messages:batch", **content, headers=headers)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert not handler.handled


async def test_the_longest_id_of_a_batch_is_a_message_id(client: httpx2.AsyncClient) -> None:
    answer = await client.post(PATH, json=[audio()] * 1000, headers={"X-Message-Id": "x" * 117})
    assert (answer.status_code, len(answer.json()["messages"][-1]["message_id"])) == (202, 128)


async def test_a_batch_has_16_mib_at_most_with_a_length_and_without(client: httpx2.AsyncClient) -> None:
    most = 16 * 1024 * 1024
    body = b'[{"type":"x"}]'.rjust(most)

    async def streamed() -> AsyncIterator[bytes]:
        for at in range(0, most + 1, 65536):
            yield b" " * min(65536, most + 1 - at)

    assert (await client.post("/queues/foreign/messages:batch", content=body)).status_code == 202
    assert (await client.post("/queues/foreign/messages:batch", content=body + b" ")).status_code == 413
    assert (await client.post("/queues/foreign/messages:batch", content=streamed())).status_code == 413


async def test_what_did_not_land_is_named_with_when_to_try_again(
    client: httpx2.AsyncClient, handler: UserHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, lambda user: user == 2, lambda: PublishError("no confirm", may_have_landed=True))
    answer = await client.post(PATH, json=[audio(1), audio(2), audio(3)], headers={"X-Message-Id": "r"})
    assert (answer.status_code, answer.headers["Retry-After"]) == (207, "5")
    assert answer.json()["messages"][1] == {
        "status": 503,
        "message_id": "r-2of3",
        "detail": "no confirm; it may have landed all the same",
        "may_have_landed": True,
    }
    assert [result["status"] for result in answer.json()["messages"]] == [202, 503, 202]
    await eventually(lambda: {message.user_id for message in handler.handled} == {1, 3}, "the others are handled")


async def test_what_is_too_large_for_the_broker_is_a_413_as_alone(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing(monkeypatch, lambda user: user == 2, lambda: MessageTooLargeError("the broker takes 9 bytes"))
    answer = await client.post(PATH, json=[audio(1), audio(2)], headers={"X-Message-Id": "l"})
    assert (answer.status_code, "Retry-After" in answer.headers) == (207, False)
    assert answer.json()["messages"][1] == {
        "status": 413,
        "message_id": "l-2of2",
        "detail": "the broker takes 9 bytes",
    }
    assert (await client.post(PATH.removesuffix(":batch"), json=audio(2))).status_code == 413


@pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" "])
async def test_blank_lines_are_no_messages_however_many(client: httpx2.AsyncClient, blank: bytes) -> None:
    body = blank * (api_batch.MAX_BYTES // 2 // len(blank)) + b'\n{"type": "x"}\n\n \n{"type": "y"}'
    answer = await client.post("/queues/foreign/messages:batch", content=body)
    assert [one["status"] for one in answer.json()["messages"]] == [202, 202]


async def test_the_event_loop_has_its_turn_between_large_messages(client: httpx2.AsyncClient) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    bodies = [b'{"type": "x", "text": "%b"}' % (b"x" * 100_000)] * 50
    counting = asyncio.create_task(count())
    await asyncio.sleep(0)
    before = turns
    assert await api_batch._messages(b"[" + b",".join(bodies) + b"]") == bodies
    counting.cancel()
    assert turns - before >= 49


async def test_what_a_middleware_raises_is_that_messages_own(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refusing(monkeypatch, lambda user: user == 2, lambda: KeyError("secret"))
    answer = await client.post(PATH, json=[audio(1), audio(2)])
    assert answer.status_code == 207
    failed = answer.json()["messages"][1]
    assert (failed["status"], failed["detail"]) == (500, "publishing raised KeyError")
    assert "secret" in caplog.text


async def test_an_outage_opens_the_breaker_and_one_message_at_a_time_tries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []
    down = True

    def refused(user: int) -> bool:
        tries.append(user)
        return down

    refusing(monkeypatch, refused, lambda: PublishError("down"))
    queue = {"name": "q", "type": "memory", "circuit_breaker": {"fail_max": 3, "reset_timeout": 1}}
    async with serving(tmp_path, [queue], {"q": UserHandler()}) as client:

        async def post() -> httpx2.Response:
            return await client.post("/queues/q/messages:batch", json=[audio(n) for n in range(100)])

        first = await post()
        assert (first.status_code, {one["status"] for one in first.json()["messages"]}) == (207, {503})
        tries.clear()
        second = await post()
        assert {one["status"] for one in second.json()["messages"]} == {503}
        assert not tries
        assert "circuit breaker" in second.json()["messages"][0]["detail"]
        down = False
        told: list[list[int]] = []

        async def landed() -> bool:
            answer = await post()
            told.append([one["status"] for one in answer.json()["messages"]])
            return answer.status_code == 202

        await eventually(landed, "the breaker lets a message try")
        # The rest of a batch waits for the one that tries: behind the first that landed, all do.
        assert all(statuses == sorted(statuses, reverse=True) for statuses in told), told


async def test_only_so_many_batches_are_read_at_a_time(client: httpx2.AsyncClient) -> None:
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"["
        await go_on.wait()
        yield b'{"type": "x"}]'

    path = "/queues/foreign/messages:batch"
    slow_ones = [asyncio.create_task(client.post(path, content=slow())) for _ in range(api_batch.AT_A_TIME)]
    await asyncio.sleep(0.2)
    late = asyncio.create_task(client.post(path, json=[{"type": "x"}]))
    await asyncio.sleep(0.2)
    assert not late.done()
    assert (await client.get("/health/live")).status_code == 200
    go_on.set()
    assert {(await one).status_code for one in [*slow_ones, late]} == {202}


async def test_openapi_documents_every_answer(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/queues/{queue}/messages:batch"]["post"]
    assert set(operation["responses"]) == {"202", "207", "401", "404", "408", "409", "413", "422"}
    assert set(operation["requestBody"]["content"]) == {"application/json", "application/x-ndjson"}
    assert operation["security"]
