# The template's: an update changes it. Which files are yours: README.md.
"""Each queue of queues.yaml is rehearsed, from publishing to the drain.

The queues are those of queues.yaml, with all their keys, but under names of their own, with short delays, and with a
handler of the tests. So no real message is touched, and it does not matter what your handlers do.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from fastapi import FastAPI

from app.queue.config import QueueConfig, load_queues
from app.queue.dead_letters import count, peek
from app.queue.handling import Reject, current_delivery
from app.queue.interfaces import Place
from app.queue.processor import MessageProcessor
from app.queue.setup import get_dead_letters, queue_lifespan

QUEUES_FILE = Path(__file__).parents[1] / "queues.yaml"
PATIENCE = 30.0  # seconds until something that should happen is called missing
KEY = "a-key"


class Actor:
    """The handler of one queue: one method for each thing that can happen to a message."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []  # (message id, attempt), as they began
        self.done: list[str] = []

    async def succeed(self, message: dict[str, Any]) -> None:
        self._note()
        self.done.append(current_delivery().message_id)

    async def fail_once(self, message: dict[str, Any]) -> None:
        self._note()
        if current_delivery().attempt == 1:
            raise ConnectionError("the first attempt of a test")
        self.done.append(current_delivery().message_id)

    async def fail(self, message: dict[str, Any]) -> None:
        self._note()
        raise ConnectionError("every attempt of a test")

    async def refuse(self, message: dict[str, Any]) -> None:
        self._note()
        raise Reject("a test refuses it")

    async def linger(self, message: dict[str, Any]) -> None:
        self._note()
        await asyncio.sleep(0.5)
        self.done.append(current_delivery().message_id)

    def _note(self) -> None:
        self.calls.append((current_delivery().message_id, current_delivery().attempt))


def write_copy(folder: Path, provider: str | None = None) -> Path:
    """A copy of queues.yaml for the tests: all queues, or those of this `type`. Returns the file."""
    document = yaml.safe_load(QUEUES_FILE.read_text(encoding="utf-8"))
    pairs = zip(document["queues"], load_queues(QUEUES_FILE).queues, strict=True)
    chosen = [(entry, queue.name) for entry, queue in pairs if provider in (None, queue.type)]
    changes = {
        "enable_consumer": True,
        "enable_publisher": True,
        "retry": {"max_attempts": 2, "initial_delay": 0.1},
        "dlq": {"retry_interval": 0},
        "pause": {"after": 0},
    }
    run = uuid.uuid4().hex[:8]
    document["queues"] = [
        {key: value for key, value in entry.items() if key != "declare"}
        | changes
        | {"name": f"test_{run}_{number}_{name}"[:64].rstrip(".")}
        for number, (entry, name) in enumerate(chosen)
    ]
    document["drain"] = {"delay": 0, "timeout": 10}
    copy = folder / "queues.yaml"
    copy.write_text(yaml.safe_dump(document), encoding="utf-8")
    return copy


@asynccontextmanager
async def running(actors: dict[str, Actor]) -> AsyncIterator[httpx2.AsyncClient]:
    """The service in this process, with these handlers, one a queue. Yields a client of its HTTP once it is ready."""

    def register(processor: MessageProcessor) -> None:
        for queue, actor in actors.items():
            processor.register_handler(queue, actor)

    lifespan = queue_lifespan(register=register)
    app = FastAPI(lifespan=lifespan)
    transport = httpx2.ASGITransport(app=app)
    async with (
        lifespan(app),
        httpx2.AsyncClient(transport=transport, base_url="http://service", headers={"X-API-Key": KEY}) as client,
    ):

        async def ready() -> bool:
            return (await client.get("/health/ready")).status_code == 200

        await eventually(ready, "the service is ready")
        yield client


async def rehearse(copy: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take all queues of this copy of queues.yaml through a message's life, side by side."""
    monkeypatch.setenv("QUEUES_FILE", str(copy))
    monkeypatch.setenv("API_KEY", KEY)
    queues = load_queues().queues
    actors = {queue.name: Actor() for queue in queues}
    async with running(actors) as client:

        async def see_each_end(queue: QueueConfig) -> None:
            actor, name = actors[queue.name], queue.name
            handled = await publish(client, name, "succeed")
            await eventually(lambda: handled in actor.done, f"{name}: a message is handled")
            retried = await publish(client, name, "fail_once")
            await eventually(lambda: retried in actor.done, f"{name}: a message that failed is handled by a retry")
            assert [attempt for message_id, attempt in actor.calls if message_id == retried] == [1, 2]
            rejected = await publish(client, name, "refuse")
            exhausted = await publish(client, name, "fail")
            if queue.enable_dlq:
                await eventually(lambda: depth_is(queue, Place.DLQ, 2), f"{name}: two messages are dead-lettered")
                assert await dead_letters(queue) == {rejected: "rejected", exhausted: "exhausted"}
            else:
                whole = {rejected, exhausted}
                await eventually(lambda: whole <= dropped(caplog.records, whole), f"{name}: two messages are logged")
            calls = [message_id for message_id, _ in actor.calls]
            assert (calls.count(rejected), calls.count(exhausted)) == (1, 2)
            lingering = await publish(client, name, "linger")
            await eventually(lambda: (lingering, 1) in actor.calls, f"{name}: the last message is being handled")

        await asyncio.gather(*map(see_each_end, queues))
    for queue in queues:
        lingering, _ = actors[queue.name].calls[-1]
        assert lingering in actors[queue.name].done, f"{queue.name}: the drain did not wait for a handler"
        await eventually(partial(depth_is, queue, Place.QUEUE, 0), f"{queue.name}: all is acked")


async def publish(client: httpx2.AsyncClient, queue: str, kind: str) -> str:
    """Publish a message over HTTP. Returns its id."""
    answer = await client.post(f"/queues/{queue}/messages", json={"type": kind})
    assert answer.status_code == 202, f"{queue}: {answer.text}"
    return str(answer.json()["message_id"])


async def depth_is(queue: QueueConfig, place: Place, wanted: int) -> bool:
    return await count(get_dead_letters(queue, place)) == wanted


async def dead_letters(queue: QueueConfig) -> dict[str, str]:
    """What is in the dead-letter queue, with the reasons; it stays there."""
    listing = await peek(get_dead_letters(queue), 10)
    return {letter.id: letter.reason for letter in listing.letters}


def dropped(records: Iterable[logging.LogRecord], message_ids: set[str]) -> set[str]:
    """Those that an error in the log names as dropped."""
    errors = [record.getMessage() for record in records if record.levelno == logging.ERROR]
    return {name for name in message_ids if any(f"{name} is dropped" in text for text in errors)}


async def eventually(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Return when the condition is true; fail after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found if isinstance(found, bool) else await found:
            return
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.02)
