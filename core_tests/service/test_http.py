"""HTTP as the design has it, on the real server with the embedded provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import httpx2
import pytest
import pytest_asyncio
from pydantic import BaseModel, field_validator

from app.queue.errors import PublishError
from app.queue.providers.memory.parts import MemoryConsumer, MemoryPublisher
from app.queue.setup import get_publisher
from core_tests.tools.example import UserHandler, audio, queue_config
from core_tests.tools.server import API_KEY, serving
from core_tests.tools.waiting import eventually

PATH = "/queues/user_channel/messages"
QUEUES: list[dict[str, Any]] = [
    {"name": "user_channel", "type": "memory", "max_message_bytes": 2000},
    {"name": "silent", "type": "memory", "enable_consumer": False, "enable_publisher": False},
    {"name": "foreign", "type": "memory", "enable_consumer": False},
]


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def served_handler() -> UserHandler:
    return UserHandler()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(
    tmp_path_factory: pytest.TempPathFactory, served_handler: UserHandler
) -> AsyncIterator[httpx2.AsyncClient]:
    """One service for all tests of this module."""
    async with serving(tmp_path_factory.mktemp("http"), QUEUES, {"user_channel": served_handler}) as client:
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


async def test_a_message_is_accepted_with_its_id_and_handled(client: httpx2.AsyncClient, handler: UserHandler) -> None:
    answer = await client.post(PATH, json=audio())
    assert answer.status_code == 202
    await eventually(lambda: len(handler.handled) == 1, "it is handled")
    assert handler.attempts == [(answer.json()["message_id"], 1)]


async def test_the_clients_message_id_is_the_messages(client: httpx2.AsyncClient, handler: UserHandler) -> None:
    answer = await client.post(PATH, json=audio(), headers={"X-Message-Id": "order-17/again"})
    assert answer.json() == {"message_id": "order-17/again"}
    await eventually(lambda: handler.attempts == [("order-17/again", 1)], "it is handled under that id")


@pytest.mark.parametrize(
    ("queue", "body", "headers", "status"),
    [
        ("user_channel", audio(), {"X-API-Key": "wrong"}, 401),
        ("user_channel", audio(), {"X-API-Key": "é"}, 401),
        ("user_channel", audio(), {"X-API-Key": ""}, 401),
        ("nobody", audio(), {}, 404),
        ("silent", audio(), {}, 409),
        ("user_channel", audio(content="x" * 3000), {}, 413),
        ("user_channel", b"garbage", {}, 422),
        ("user_channel", b"", {}, 422),
        ("user_channel", b"[]", {}, 422),
        ("user_channel", {"user_id": 1}, {}, 422),
        ("user_channel", {"type": "unheard_of"}, {}, 422),
        ("user_channel", {"type": "send_audio", "user_id": "x"}, {}, 422),
        ("user_channel", audio(), {"X-Message-Id": "a b"}, 422),
        ("user_channel", audio(), {"X-Message-Id": "x" * 200}, 422),
        ("foreign", {"no": "type"}, {}, 422),
        ("foreign", {"type": "whatever the other side knows"}, {}, 202),
    ],
)
async def test_every_answer_of_the_table(
    client: httpx2.AsyncClient, queue: str, body: Any, headers: dict[str, str], status: int
) -> None:
    content = {"content": body} if isinstance(body, bytes) else {"json": body}
    raw = {name: value.encode() for name, value in headers.items()}
    answer = await client.post(f"/queues/{queue}/messages", **content, headers=raw)  # type: ignore[arg-type]
    assert answer.status_code == status, answer.text
    if status != 202:
        assert answer.json()["detail"]


@pytest.mark.parametrize("key", ["", None])
async def test_without_an_api_key_in_the_environment_nobody_may_publish(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    monkeypatch.delenv("API_KEY")
    if key is not None:
        monkeypatch.setenv("API_KEY", key)
    assert (await client.post(PATH, json=audio(), headers={"X-API-Key": ""})).status_code == 401


async def test_a_body_that_is_streamed_without_a_length_is_limited_too(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b" " * 1000

    assert (await client.post(PATH, content=endless())).status_code == 413


async def test_health_says_what_the_design_says(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).json() == {"status": "ready"}
    answer = await client.get("/health/queue")
    assert answer.status_code == 200
    well = {
        "status": "healthy",
        "consumer": "running",
        "publisher": "ready",
        "circuit_breaker": "closed",
        "mover": None,
        "detail": None,
    }
    assert answer.json() == {
        "status": "healthy",
        "queues": {
            "user_channel": well,
            "silent": {**well, "consumer": "disabled", "publisher": "disabled"},
            "foreign": {**well, "consumer": "disabled"},
        },
    }


async def test_health_is_never_without_a_word_when_a_link_is_lost_that_nobody_has_noticed_yet(
    client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MemoryPublisher, "state", "down")
    answer = await client.get("/health/queue")
    assert answer.status_code == 503
    assert answer.json()["queues"]["user_channel"]["publisher"] == "down"
    assert answer.json()["queues"]["user_channel"]["detail"]
    monkeypatch.undo()
    monkeypatch.setattr(MemoryConsumer, "registered", False)
    assert (await client.get("/health/queue")).json()["queues"]["user_channel"]["detail"]


async def test_openapi_documents_every_answer(client: httpx2.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    operation = document["paths"]["/queues/{queue}/messages"]["post"]
    assert set(operation["responses"]) == {"202", "401", "404", "408", "409", "413", "422", "503"}
    assert "Retry-After" in operation["responses"]["503"]["headers"]
    assert operation["requestBody"]["content"]["application/json"]["schema"]["required"] == ["type"]
    assert operation["security"]
    assert {"/health/live", "/health/ready", "/health/queue"} <= set(document["paths"])


async def test_metrics_count_what_happened(client: httpx2.AsyncClient, handler: UserHandler) -> None:
    async def count(name: str) -> float:
        lines = (await client.get("/metrics")).text.splitlines()
        prefix = f'queue_messages_{name}_total{{queue="user_channel"}} '
        return sum(float(line.removeprefix(prefix)) for line in lines if line.startswith(prefix))

    before = await count("handled"), await count("published")
    await asyncio.gather(*(client.post(PATH, json=audio(number)) for number in range(20)))
    await eventually(lambda: len(handler.handled) == 20, "they are handled")
    assert (await count("handled"), await count("published")) == (before[0] + 20, before[1] + 20)


async def test_whatever_a_caller_calls_a_queue_the_metrics_can_be_read(client: httpx2.AsyncClient) -> None:
    publisher = get_publisher(queue_config())
    with pytest.raises(PublishError):
        await publisher.publish_message("no\udc80where", audio())
    await publisher.close()
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    assert "no\\\\udc80where" in answer.text


class Broken(BaseModel):
    """Its validator has a mistake in it."""

    errors: ClassVar[list[BaseException]]
    type: str

    @field_validator("type")
    @classmethod
    def check(cls, value: str) -> str:
        """Raise what no validator may raise."""
        raise cls.errors.pop()


class BrokenHandler:
    async def work(self, message: Broken) -> None:
        """Never called."""


async def test_a_model_whose_validator_raises_is_a_422_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kinds = (KeyError, StopIteration, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
    Broken.errors = [kind() for kind in kinds]
    async with serving(tmp_path, [{"name": "q", "type": "memory"}], {"q": BrokenHandler()}) as client:
        for kind in reversed(kinds):
            answer = await client.post("/queues/q/messages", json={"type": "work"}, headers={"X-API-Key": API_KEY})
            said = f"the message's model raised {kind.__name__}"
            assert (answer.status_code, answer.json()) == (422, {"detail": said})
    assert caplog.text.count("the model of a message raised") == len(kinds)


async def test_a_body_with_a_byte_order_mark_is_accepted(client: httpx2.AsyncClient, handler: UserHandler) -> None:
    content = b"\xef\xbb\xbf" + json.dumps(audio()).encode()
    assert (await client.post(PATH, content=content, headers={"X-API-Key": API_KEY})).status_code == 202
    await eventually(lambda: len(handler.handled) == 1, "it is handled")
