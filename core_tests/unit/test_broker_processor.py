"""Moves in two steps, and what is left out of a message that is too large."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.queue.broker.processor import TwoStepProcessor
from app.queue.broker.shortening import shorter
from app.queue.errors import (
    AckLostError,
    BrokerUnavailableError,
    DeliveryLostError,
    MessageTooLargeError,
    PublishError,
    UnroutableError,
)
from app.queue.interfaces import Delivery, Message, Place
from app.queue.messages.headers import History, history_of, wire_size, with_failure
from core_tests.tools.fake_broker import fail_next, fake_config


class Token:
    """Good until it is not."""

    good = True

    def check(self) -> None:
        if not self.good:
            raise DeliveryLostError("gone")


class LentToken(Token):
    """One that the broker gives out again, as a lease is."""

    def let_go(self) -> None:
        self.good = False


class FakeProcessor(TwoStepProcessor):
    """Notes its steps; `put` and `forget` fail with what is in their lists, or hang where that is None."""

    def __init__(self, limit: int = 1_000_000) -> None:
        super().__init__("q", fake_config())
        self.steps: list[str] = []
        self.sent: list[Message] = []
        self.limit = limit
        self.put_errors: list[Exception | None] = []
        self.forget_errors: list[Exception | None] = []

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        assert delivery.token is not None
        if (size := wire_size(message.headers)) > self.limit:
            raise MessageTooLargeError(f"{size} bytes of headers")
        await fail_next(self.put_errors)
        self.steps.append(f"put {target} {delay:g}")
        self.sent.append(message)

    async def forget(self, delivery: Delivery) -> None:
        assert delivery.token is not None
        await fail_next(self.forget_errors)
        self.steps.append("forget")

    async def ensure(self, target: str) -> None:
        self.steps.append(f"ensure {target}")


def delivered(token: Any = None) -> Delivery:
    return Delivery("q", Message(b"{}", "1"), token=token or Token())


async def test_a_move_is_a_put_and_then_an_ack() -> None:
    made = FakeProcessor()
    await made.move(delivered(), Message(b"{}", "1"), Place.RETRY, 2.0)
    assert made.steps == ["put retry_q_2000 2", "forget"]


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), PublishError("perhaps", may_have_landed=True), None])
async def test_what_is_not_surely_put_is_not_forgotten(error: Exception | None) -> None:
    made = FakeProcessor()
    made.put_errors = [error]
    with pytest.raises((BrokerUnavailableError, PublishError)) as caught:
        await made.move(delivered(), Message(b"{}", "1"), Place.DLQ)
    assert made.steps == []
    if error is None:
        assert isinstance(caught.value, PublishError)
        assert "did not confirm for 'dlq_q' in time" in str(caught.value)
        assert caught.value.may_have_landed


@pytest.mark.parametrize("error", [BrokerUnavailableError("down"), DeliveryLostError("gone"), None])
async def test_what_is_put_and_can_not_be_forgotten_has_lost_its_ack(error: Exception | None) -> None:
    made = FakeProcessor()
    made.forget_errors = [error]
    with pytest.raises(AckLostError):
        await made.move(delivered(), Message(b"{}", "1"), Place.DLQ)
    assert made.steps == ["put dlq_q 0"]


async def test_an_ack_that_is_not_confirmed_in_time_is_an_error() -> None:
    made = FakeProcessor()
    made.forget_errors = [None]
    with pytest.raises(BrokerUnavailableError, match="did not confirm the ack in time"):
        await made.ack(delivered())


class SlowProcessor(FakeProcessor):
    """Puts when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[asyncio.Future[None]] = []

    async def put(self, target: str, message: Message, delivery: Delivery, delay: float) -> None:
        self.puts.append(asyncio.get_running_loop().create_future())
        await self.puts[-1]
        await super().put(target, message, delivery, delay)


async def slow_moves(made: SlowProcessor, delivery: Delivery, tries: int) -> None:
    for _ in range(tries):
        with pytest.raises(PublishError, match="did not confirm") as caught:
            await made.move(delivery, Message(b"{}", "1"), Place.DLQ)
        assert caught.value.may_have_landed


async def test_what_is_confirmed_after_its_time_was_put_once_however_often_it_was_tried() -> None:
    made, delivery = SlowProcessor(), delivered()
    await slow_moves(made, delivery, 3)
    assert len(made.puts) == 1
    made.puts[0].set_result(None)
    await made.move(delivery, Message(b"{}", "1"), Place.DLQ)
    assert made.steps == ["put dlq_q 0", "forget"]
    assert made._unconfirmed == {}


async def test_what_failed_after_its_time_is_put_again() -> None:
    made, delivery = SlowProcessor(), delivered()
    await slow_moves(made, delivery, 2)
    made.puts[0].set_exception(PublishError("lost", may_have_landed=True))
    await slow_moves(made, delivery, 1)
    assert len(made.puts) == 2
    made.puts[1].set_result(None)
    await made.move(delivery, Message(b"{}", "1"), Place.DLQ)
    assert made.steps == ["put dlq_q 0", "forget"]


async def test_what_is_put_still_ends_with_its_delivery_and_with_the_processor() -> None:
    made, delivery, other = SlowProcessor(), delivered(), delivered()
    await slow_moves(made, delivery, 1)
    await slow_moves(made, other, 1)
    delivery.token.good = False
    with pytest.raises(DeliveryLostError):
        await made.move(delivery, Message(b"{}", "1"), Place.DLQ)
    await asyncio.sleep(0)
    assert [putting.cancelled() for putting in made.puts] == [True, False]
    await made.close()
    await asyncio.sleep(0)
    assert made.puts[1].cancelled()
    assert made.steps == []


async def test_where_the_broker_drops_repeats_it_is_put_with_every_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SlowProcessor, "drops_repeats", True)
    made = SlowProcessor()
    await slow_moves(made, delivered(), 2)
    assert [putting.cancelled() for putting in made.puts] == [True, True]


async def test_nothing_is_put_or_forgotten_for_a_delivery_that_is_lost() -> None:
    made, delivery = FakeProcessor(), delivered()
    delivery.token.good = False
    with pytest.raises(DeliveryLostError):
        await made.move(delivery, Message(b"{}", "1"), Place.DLQ)
    with pytest.raises(DeliveryLostError):
        await made.ack(delivery)
    assert made.steps == []


async def test_a_place_that_was_deleted_is_made_again_once() -> None:
    made = FakeProcessor()
    made.put_errors = [UnroutableError("no such place")]
    await made.move(delivered(), Message(b"{}", "1"), Place.DLQ)
    assert made.steps == ["ensure dlq_q", "put dlq_q 0", "forget"]
    made.put_errors = [UnroutableError("no such place"), UnroutableError("still none")]
    with pytest.raises(UnroutableError, match="still none"):
        await made.move(delivered(), Message(b"{}", "1"), Place.DLQ)


# --- what is left out

PAST = History(attempts=3, crashes=1, replays=2, first_failed_at="2026-01-01T00:00:00.000+00:00")


def failed(headers: dict[str, Any] | None = None) -> Message:
    try:
        raise RuntimeError("x" * 900)
    except RuntimeError as error:
        foreign = Message(b"{}", "1", {"tenant": "t" * 5000, **(headers or {})}, properties="foreign")
        return with_failure(foreign, PAST, queue="q", reason="exhausted", error=error)


def test_a_message_is_shortened_in_stages_and_what_decides_about_it_stays() -> None:
    message = failed()
    whole, no_traceback, no_text, ours, least = shorter(message)
    assert whole is message
    sizes = [wire_size(variant.headers) for variant in (whole, no_traceback, no_text, ours, least)]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == 5
    assert len(no_traceback.headers["dlq-traceback"]) <= 200 < len(message.headers["dlq-traceback"])
    assert no_traceback.headers["dlq-exception-message"] == "x" * 900
    assert len(no_text.headers["dlq-exception-message"]) <= 200
    assert no_text.headers["tenant"] == "t" * 5000
    assert (ours.headers["dlq-dropped-headers"], ours.properties) == ("tenant", None)
    for variant in (whole, no_traceback, no_text, ours, least):
        assert (history_of(variant), variant.headers["dlq-reason"]) == (replace(PAST, moves=1), "exhausted")
        assert (variant.body, variant.message_id) == (b"{}", "1")
    assert sizes[-1] < 600


def test_what_says_how_the_body_is_to_be_read_is_left_out_by_no_stage() -> None:
    message = replace(failed({"Content-Encoding": "gzip"}), content_encoding="deflate")
    assert {variant.headers["Content-Encoding"] for variant in shorter(message)} == {"gzip"}
    assert {variant.content_encoding for variant in shorter(message)} == {"deflate"}


def test_a_message_with_nothing_to_leave_out_has_few_variants() -> None:
    assert len(list(shorter(Message(b"{}", "1")))) == 2


@pytest.mark.parametrize("limit", [20_000, 7_000, 6_300, 2_000, 500])
async def test_a_move_that_does_not_fit_is_tried_with_less(limit: int) -> None:
    made = FakeProcessor(limit)
    await made.move(delivered(), failed(), Place.DLQ)
    assert made.steps == ["put dlq_q 0", "forget"]
    (sent,) = made.sent
    assert wire_size(sent.headers) <= limit
    assert ("dlq-dropped-headers" in sent.headers) is (limit < 5_000)


async def test_a_move_that_never_fits_is_told_and_the_delivery_stays_unsettled() -> None:
    made, delivery = FakeProcessor(0), delivered()
    with pytest.raises(MessageTooLargeError):
        await made.move(delivery, failed(), Place.DLQ)
    assert made.steps == []


async def test_a_lent_message_whose_ack_was_lost_is_no_longer_kept() -> None:
    token = LentToken()
    made = FakeProcessor()
    made.forget_errors = [BrokerUnavailableError("down")]
    with pytest.raises(AckLostError):
        await made.move(delivered(token), Message(b"{}", "1"), Place.DLQ)
    assert not token.good
