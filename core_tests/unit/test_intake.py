"""When a consumer receives: the reasons not to, and its links that come and go meanwhile."""

from __future__ import annotations

import pytest

from app.queue.consume.intake import HoldBack, Intake
from app.queue.errors import BrokerUnavailableError
from core_tests.unit.records import Consumer

DRAIN, QUARANTINE = HoldBack.DRAIN, HoldBack.QUARANTINE


@pytest.fixture
async def consumer() -> Consumer:
    return Consumer()


async def test_it_receives_while_there_is_no_reason_not_to(consumer: Consumer) -> None:
    intake = Intake(consumer)
    await intake.open()
    assert consumer.receives
    await intake.hold_back(QUARANTINE)
    assert not consumer.receives
    await intake.take_back(QUARANTINE)
    assert consumer.receives


@pytest.mark.parametrize("first", HoldBack)
@pytest.mark.parametrize("last", HoldBack)
async def test_it_receives_again_when_the_last_reason_is_taken_back(
    consumer: Consumer, first: HoldBack, last: HoldBack
) -> None:
    intake = Intake(consumer)
    await intake.open()
    await intake.hold_back(first)
    await intake.hold_back(last)
    await intake.take_back(first)
    assert consumer.receives == (first is last)
    await intake.take_back(last)
    assert consumer.receives


async def test_a_reason_outlasts_the_link(consumer: Consumer) -> None:
    intake = Intake(consumer)
    await intake.open()
    await intake.hold_back(QUARANTINE)
    await intake.close()
    await intake.open()
    assert not consumer.receives
    await intake.take_back(QUARANTINE)
    assert consumer.receives


async def test_a_reason_that_is_taken_back_without_a_link_does_not_open_one(consumer: Consumer) -> None:
    intake = Intake(consumer)
    await intake.open()
    await intake.hold_back(QUARANTINE)
    await intake.close()
    await intake.take_back(QUARANTINE)
    assert not consumer.receives
    await intake.open()
    assert consumer.receives


async def test_a_reason_holds_although_the_link_could_not_be_told(consumer: Consumer) -> None:
    intake = Intake(consumer)
    with pytest.raises(BrokerUnavailableError):
        await intake.hold_back(DRAIN)
    await intake.open()
    assert not consumer.receives


async def test_what_was_no_reason_can_be_taken_back(consumer: Consumer) -> None:
    intake = Intake(consumer)
    await intake.open()
    await intake.hold_back(DRAIN)
    await intake.take_back(QUARANTINE)
    assert not consumer.receives


async def test_what_is_closed_has_no_link_any_more(consumer: Consumer) -> None:
    intake = Intake(consumer)
    await intake.open()
    await intake.close()
    assert not consumer.has_link


async def test_no_room_is_made_where_there_is_no_link_yet(consumer: Consumer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails() -> None:
        raise BrokerUnavailableError("down")

    intake = Intake(consumer)
    await intake.make_room(1)
    monkeypatch.setattr(consumer, "open", fails)
    with pytest.raises(BrokerUnavailableError):
        await intake.open()
    await intake.make_room(1)
    assert consumer.held == []
