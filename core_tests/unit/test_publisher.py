"""What every provider's publisher does around sending."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import BaseModel, Field

from app.queue.broker.publisher import GuardedPublisher
from app.queue.errors import (
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    CircuitOpenError,
    MessageTooLargeError,
    PublisherBlockedError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Body, Message, PublisherState
from app.queue.messages.body import decode, encode
from app.queue.middleware import PublishMiddleware, PublishNext
from core_tests.tools.example import SendAudioMessage, audio, queue_config

DOWN = BrokerUnavailableError("RabbitMQ at host:5672: refused")


class FakePublisher(GuardedPublisher):
    """Fails with each of `open_errors`, then each of `errors`; hangs where one is None; then sends."""

    def __init__(self, *errors: Exception | None, middleware: tuple[PublishMiddleware, ...] = (), **keys: Any) -> None:
        super().__init__("q", queue_config("q", **keys), middleware)
        self.open_errors: list[Exception | None] = []
        self.errors = list(errors)
        self.tries = 0
        self.sent: list[tuple[str, Message]] = []

    async def open(self) -> None:
        await self._next(self.open_errors)

    async def send(self, queue: str, message: Message) -> None:
        self.tries += 1
        await self._next(self.errors)
        self.sent.append((queue, message))

    @staticmethod
    async def _next(errors: list[Exception | None]) -> None:
        if not errors:
            return
        error = errors.pop(0)
        if error is None:
            await asyncio.Event().wait()
        else:
            raise error

    async def lost(self) -> str:
        raise NotImplementedError

    async def close(self) -> None: ...

    @property
    def state(self) -> PublisherState:
        return "ready"


# --- what is sent


async def test_the_id_of_a_message_is_returned_and_each_has_another() -> None:
    publisher = FakePublisher()
    first = await publisher.publish_message("q", audio())
    second = await publisher.publish_message("q", audio())
    assert [message.message_id for _, message in publisher.sent] == [first, second]
    assert len({first, second}) == 2


async def test_an_id_and_headers_may_be_chosen_and_the_queue_is_the_one_of_the_call() -> None:
    publisher = FakePublisher()
    assert await publisher.publish_message("other", b"{}", message_id="mine", headers={"traceparent": "00"}) == "mine"
    assert publisher.sent == [("other", Message(b"{}", "mine", {"traceparent": "00"}))]


class Aliased(BaseModel):
    type: str = "aliased"
    user: int = Field(5, alias="userId")


@pytest.mark.parametrize(
    ("body", "data"),
    [
        (b'{"type":  "x"}', b'{"type":  "x"}'),
        ('{"type":  "größe"}', '{"type":  "größe"}'.encode()),
        ({"type": "x", "n": [1, None]}, b'{"type":"x","n":[1,null]}'),
        (MappingProxyType({"type": "x"}), b'{"type":"x"}'),
        (SendAudioMessage(user_id=1, content="ä"), '{"type":"send_audio","user_id":1,"content":"ä"}'.encode()),
        (Aliased(), b'{"type":"aliased","userId":5}'),
    ],
    ids=["bytes", "text", "dict", "mapping", "model", "aliases"],
)
def test_bytes_and_text_travel_as_they_are_and_the_rest_as_json(body: Body, data: bytes) -> None:
    assert encode(body) == data


def test_a_dict_as_text_travels_as_json_of_other_libraries_reads_it() -> None:
    assert json.loads(encode(audio(content='"\\\n😀'))) == audio(content='"\\\n😀')


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_dict_never_becomes_a_body_that_no_consumer_can_decode(number: float) -> None:
    assert decode(encode({"type": "x", "n": number}))[1] == "x"


@pytest.mark.parametrize(
    ("body", "error"), [(b"x" * 11, MessageTooLargeError), ("ä" * 6, MessageTooLargeError), (b"x" * 10, None)]
)
async def test_a_body_larger_than_max_message_bytes_is_an_error_and_not_sent(
    body: Body, error: type[Exception] | None
) -> None:
    publisher = FakePublisher(max_message_bytes=10)
    if error is None:
        await publisher.publish_message("q", body)
        return
    with pytest.raises(error, match=r"queue 'q': .*1[12] bytes.*max_message_bytes is 10") as caught:
        await publisher.publish_message("q", body, message_id="mine")
    assert publisher.tries == 0
    assert isinstance(caught.value, MessageTooLargeError)
    assert caught.value.message_id == "mine"


# --- what goes wrong


async def test_what_surely_was_not_sent_is_tried_once_more() -> None:
    publisher = FakePublisher(DOWN)
    await publisher.publish_message("q", b"{}")
    assert publisher.tries == 2
    assert len(publisher.sent) == 1


async def test_a_broker_that_stays_away_is_a_publish_error_that_names_queue_and_reason() -> None:
    publisher = FakePublisher(DOWN, DOWN)
    with pytest.raises(PublishError, match="queue 'q': RabbitMQ at host:5672: refused") as caught:
        await publisher.publish_message("q", b"{}", message_id="mine")
    assert publisher.tries == 2
    assert caught.value.message_id == "mine"
    assert not caught.value.may_have_landed


@pytest.mark.parametrize(
    "error",
    [
        PublishError("lost", may_have_landed=True),
        PublisherBlockedError("blocked"),
        UnroutableError("no such queue"),
        BrokerRefusedError("no permission"),
        BrokerError("other"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_what_may_have_landed_or_will_not_help_is_not_tried_again(error: BrokerError) -> None:
    publisher = FakePublisher(error)
    with pytest.raises(PublishError, match=str(error)) as caught:
        await publisher.publish_message("q", b"{}", message_id="mine")
    assert publisher.tries == 1
    assert caught.value.message_id == "mine"
    assert caught.value.may_have_landed == getattr(error, "may_have_landed", False)


async def test_a_publish_that_is_not_confirmed_in_time_may_have_landed_and_is_not_tried_again() -> None:
    publisher = FakePublisher(None, publish_timeout=0.01)
    with pytest.raises(PublishError, match=r"queue 'q': the broker did not confirm within 0\.01 s") as caught:
        await publisher.publish_message("q", b"{}", message_id="mine")
    assert caught.value.may_have_landed
    assert caught.value.message_id == "mine"
    assert publisher.tries == 1


async def test_two_tries_together_have_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    publisher = FakePublisher(None, publish_timeout=0.5)
    opens = 0

    async def open_late() -> None:
        nonlocal opens
        opens += 1
        if opens == 1:
            await asyncio.sleep(0.3)
            raise DOWN

    monkeypatch.setattr(publisher, "open", open_late)
    began = asyncio.get_running_loop().time()
    with pytest.raises(PublishError, match=r"did not confirm within 0\.5 s") as caught:
        await publisher.publish_message("q", b"{}")
    assert caught.value.may_have_landed
    assert (opens, publisher.tries) == (2, 1)
    assert asyncio.get_running_loop().time() - began < 0.75


async def test_a_broker_that_is_not_reached_in_time_has_got_nothing() -> None:
    publisher = FakePublisher(publish_timeout=0.01)
    publisher.open_errors = [None]
    with pytest.raises(PublishError, match=r"queue 'q': the broker could not be reached within 0\.01 s") as caught:
        await publisher.publish_message("q", b"{}")
    assert not caught.value.may_have_landed
    assert publisher.tries == 0


async def test_a_dead_broker_opens_the_breaker_and_then_publishing_fails_at_once_with_the_id() -> None:
    publisher = FakePublisher(*[DOWN] * 4, circuit_breaker={"fail_max": 4, "reset_timeout": 60})
    for _ in range(2):
        with pytest.raises(PublishError):
            await publisher.publish_message("q", b"{}")
    assert publisher.breaker_state == "open"
    with pytest.raises(CircuitOpenError, match="circuit breaker is open") as caught:
        await publisher.publish_message("q", b"{}", message_id="mine")
    assert publisher.tries == 4
    assert caught.value.message_id == "mine"
    assert caught.value.retry_after > 0


async def test_timeouts_open_the_breaker_too() -> None:
    publisher = FakePublisher(None, publish_timeout=0.01, circuit_breaker={"fail_max": 1})
    with pytest.raises(PublishError):
        await publisher.publish_message("q", b"{}")
    assert publisher.breaker_state == "open"


async def test_a_cancelled_publish_stays_cancelled() -> None:
    publisher = FakePublisher(None)
    task = asyncio.create_task(publisher.publish_message("q", b"{}"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- middleware


def note(name: str, log: list[str]) -> PublishMiddleware:
    async def middleware(queue: str, message: Message, call_next: PublishNext) -> None:
        log.append(f"{name} begins")
        try:
            await call_next(queue, message)
        finally:
            log.append(f"{name} ends")

    return middleware


async def test_middleware_goes_around_once_the_first_outermost_whatever_is_tried_again() -> None:
    log: list[str] = []
    publisher = FakePublisher(DOWN, middleware=(note("first", log), note("second", log)))
    await publisher.publish_message("q", b"{}")
    assert log == ["first begins", "second begins", "second ends", "first ends"]
    assert publisher.tries == 2


@pytest.mark.parametrize("error", [ValueError("mine"), None])
async def test_middleware_may_change_or_refuse_a_message(error: Exception | None) -> None:
    async def middleware(queue: str, message: Message, call_next: PublishNext) -> None:
        if error is not None:
            raise error
        await call_next(queue, Message(b"changed", message.message_id))

    publisher = FakePublisher(middleware=(middleware,))
    publish: Callable[[], Any] = lambda: publisher.publish_message("q", b"{}", message_id="mine")  # noqa: E731
    if error is not None:
        with pytest.raises(ValueError, match="mine"):
            await publish()
        assert publisher.sent == []
    else:
        await publish()
        assert publisher.sent == [("q", Message(b"changed", "mine"))]
