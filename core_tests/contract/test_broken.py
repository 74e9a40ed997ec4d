"""The suite notices a broken provider: each variant of `broken.py`, made of each provider, fails a test that is named.

The variants of a provider are tried side by side, some at a time, since what they do is mostly waiting.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial

import pytest

from app.queue.interfaces import Place
from core_tests.contract import (
    test_delays,
    test_held,
    test_interfaces,
    test_leases,
    test_links,
    test_moves,
    test_publishing,
    test_settling,
)
from core_tests.contract.broken.force import end_what_goes_on
from core_tests.contract.broken.variants import VARIANTS, applied, breakable
from core_tests.contract.claims import Candidate
from core_tests.contract.conftest import Figure
from core_tests.contract.subject import Subject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

VARIANT_TIMEOUT = 90.0
"""Seconds for one variant at most. One that hangs is named, and does not take the verdicts on the others with it."""
Test = Callable[[Subject], Awaitable[None]]
PATIENCE = 6.0
"""Seconds for which something is waited for that does not come. It is short, because it would never come."""


def ignored(_what: str, _value: object) -> None:
    """No figure of a broken provider is of use."""


headers = test_moves.test_every_header_survives_every_place
frozen = partial(test_links.test_a_broker_that_is_frozen_is_noticed_and_so_is_its_return, figure=ignored)
unconfirmed = partial(
    test_publishing.test_what_was_sent_and_not_confirmed_may_have_landed_and_is_not_sent_again, what="the link breaks"
)
NOTICED_BY: dict[str, Test] = {
    "acks first, then puts": partial(
        test_moves.test_a_move_that_is_cut_anywhere_loses_nothing, source=Place.QUEUE, target=Place.DLQ
    ),
    "acks on receive": test_interfaces.test_what_is_not_settled_comes_again_and_says_so,
    "nothing comes again after a kill": test_leases.test_what_a_frozen_consumer_has_comes_to_another_one_and_says_so,
    "what comes again does not say so": test_interfaces.test_what_is_not_settled_comes_again_and_says_so,
    "what is held keeps its room": test_held.test_what_is_held_makes_room_for_others_and_is_settled_later,
    "the delay is lost": test_delays.test_a_delay_is_not_cut_short_when_its_consumer_is_closed,
    "the delay is cut at a bound": test_delays.test_a_delay_is_not_cut_short_when_its_consumer_is_closed,
    "the delay is kept in the service's own memory": test_delays.test_a_delay_outlives_the_process_that_asked_for_it,
    "attempts are lost": headers,
    "queue-crashes is lost": headers,
    "queue-first-failed-at is lost": headers,
    "queue-replays is lost on the way out of a place": headers,
    "a foreign header is lost": headers,
    "a lease is never prolonged": test_leases.test_a_handler_that_runs_for_longer_than_the_lease_keeps_its_message,
    "a lease in another place is never prolonged": (
        test_leases.test_a_reader_that_takes_longer_than_the_lease_keeps_its_message
    ),
    "health is always green": frozen,
    "the probe swallows its timeout": frozen,
    "the probe waits for ever": frozen,
    "the consumer is always registered": test_links.test_a_link_that_breaks_is_lost_and_can_be_opened_again,
    "the publisher is always ready": test_links.test_a_link_that_breaks_is_lost_and_can_be_opened_again,
    "what may have landed is said to be surely not sent": unconfirmed,
    "what may have landed is sent again": unconfirmed,
    "nothing is too large": test_publishing.test_a_message_that_is_too_large_is_not_sent,
    "what is too large to be moved is dropped": test_moves.test_the_largest_message_that_can_be_published_can_be_moved,
    "an ack is one of all before it": test_settling.test_settling_one_delivery_settles_no_other,
    "a second ack is one of another message": test_settling.test_settling_a_delivery_twice_harms_nobody,
    "an ack returns before the broker has it": test_leases.test_what_was_acked_before_the_link_broke_never_comes_again,
}


def name_of(test: Test) -> str:
    """What pytest calls it."""
    return str(getattr(getattr(test, "func", test), "__name__", test))


async def verdict(candidate: Candidate, url: str, name: str) -> str:
    """What the test says of the variant: "noticed", "can't be asked", or what is wrong."""
    test = NOTICED_BY[name]
    with applied(name):
        subject = Subject(candidate, url, patience=PATIENCE)
        try:
            async with asyncio.timeout(VARIANT_TIMEOUT) as limit:
                await test(subject)
        except (AssertionError, pytest.fail.Exception) as error:
            return f"noticed: {(str(error).splitlines() or ['an assertion'])[0][:150]}"
        except pytest.skip.Exception as skipped:
            return f"can't be asked: {skipped.msg}"
        except Exception as error:  # noqa: BLE001 - it is shown
            if limit.expired():
                return f"does not end: {name_of(test)} was still waiting after {VARIANT_TIMEOUT:g} s"
            return f"broken in another way than it says: {error!r}"
        finally:
            await subject.clean()
    return f"not noticed by {name_of(test)}; if it breaks nothing here, say why in `unharmed_by`"


async def test_every_broken_variant_is_noticed(candidate: Candidate, url: str, figure: Figure) -> None:
    free = asyncio.Semaphore(candidate.at_a_time)

    async def one(name: str) -> tuple[str, str]:
        async with free:
            said = await verdict(candidate, url, name)
        print(f"{name}: {said}")  # at once: what is missing in the output is what hung
        return name, said

    began = time.monotonic()
    names = [name for name in VARIANTS if name not in candidate.unharmed_by]
    with breakable():
        verdicts = dict(await asyncio.gather(*(one(name) for name in names)))
    await end_what_goes_on()
    noticed = sum(said.startswith("noticed") for said in verdicts.values())
    figure("broken variants that are noticed", f"{noticed} in {time.monotonic() - began:.0f} s")
    wrong = [f"{name}: {said}" for name, said in verdicts.items() if not said.startswith(("noticed", "can't be asked"))]
    assert not wrong, "variants that were not noticed:\n" + "\n".join(wrong)


def test_every_variant_has_a_test_that_notices_it() -> None:
    assert set(NOTICED_BY) == set(VARIANTS)
