"""`kill -9` of the broker, under load."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until
from core_tests.tools.rabbitmq_queues import channel
from core_tests.tools.rabbitmq_sender import Sender

KILLS = 5
TOTAL = 20_000
EACH = 20


def test_a_broker_that_is_killed_five_times_loses_nothing_and_is_consumed_again_at_once(
    world: World, row: WriteRow
) -> None:
    service, sender = world.service(), world.sender()
    service.start()
    noticed: list[float] = []
    consuming: list[float] = []
    early = 0
    with sender.sending(rate=1200, sleep=0.002):
        for kill in range(KILLS):
            wait_until(partial(confirmed, sender, (kill + 1) * TOTAL // (KILLS + 1)), 120)
            died = time.monotonic()
            world.node.kill()
            service.wait_until(lambda: service.get("/health/queue").status == 503, "/health/queue says 503", 30)
            service.wait_until(lambda: service.get("/health/ready").status == 503, "/health/ready says 503", 30)
            noticed.append(time.monotonic() - died)
            world.node.start()
            up = time.monotonic()
            service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready", 60)
            early += consumers(world) == 0
            wait_until(partial(handled_since, world, died + 1.0), 60)
            consuming.append(min(handled_since(world, died + 1.0)) - up)
        wait_until(partial(confirmed, sender, TOTAL), 120)
    world.all_handled(sender.confirmed, 120)
    verdict = world.verdict(sender)
    fault = f"the broker is killed, {KILLS} times"
    sent = f"{len(sender.confirmed):,} sent: {verdict}"
    row(fault, "no message is lost", sent, not verdict.lost and not verdict.unexpected)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
    row(fault, "/health/queue and /health/ready say so within 2 s", f"{max(noticed):.1f} s", max(noticed) < 5)
    row(fault, "consuming within 3 s of its return", f"{max(consuming):.1f} s", max(consuming) < 10)
    row(fault, "ready only when the consumer is registered", f"{early} times too early", early == 0)


def test_what_the_service_put_into_its_queues_outlives_the_broker(world: World, row: WriteRow) -> None:
    """A quorum queue keeps every message on disk, a classic one only those that ask for it; wait queues are quorum."""
    keys: dict[str, Any] = {"queue_type": "classic", "retry": {"initial_delay": 12}, "pause": {"after": 0}}
    service, publisher = world.service(**keys), world.service(environment={"QUEUE_ROLE": "api"}, **keys)
    service.start()
    publisher.start()
    retried = {service.publish(world.queue, fail_first=True).content["message_id"] for _ in range(EACH)}
    rejected = {service.publish(world.queue, reject=True).content["message_id"] for _ in range(EACH)}
    wait_until(lambda: world.ledger.count("begin") == 2 * EACH and world.dead() == EACH)
    assert world.ledger.count("begin") == 2 * EACH, "a retry came before the broker could be killed"
    service.kill()
    waiting = {publisher.publish(world.queue).content["message_id"] for _ in range(EACH)}
    world.node.kill()
    world.node.start()
    service.start()
    world.all_handled(retried | waiting)
    handled = world.ledger.ids()
    dead = {properties.message_id for properties, _ in world.dead_letters()}
    row(
        f"the broker is killed, with {3 * EACH} messages of the service's in its queues (classic)",
        "no message is lost",
        f"{len(waiting & handled)} were published, {len(retried & handled)} to be retried, {len(dead)} in the DLQ",
        waiting | retried <= handled and dead == rejected,
    )


def confirmed(sender: Sender, count: int) -> bool:
    return len(sender.confirmed) >= count


def handled_since(world: World, since: float) -> list[float]:
    return [entry.at for entry in world.ledger.entries("done") if entry.at > since]


def consumers(world: World) -> int:
    with channel(world.node.url) as ch:
        return int(ch.queue_declare(world.queue, passive=True).method.consumer_count)
