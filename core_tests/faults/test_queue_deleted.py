"""An operator deletes a queue, or one of its places, while it is consumed and published to."""

from __future__ import annotations

import threading
import time
from functools import partial

from app.queue.messages.message import retry_name
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.topology import publishing_spec
from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, Worlds, side_by_side, wait_until
from core_tests.tools.places import dlq_name
from core_tests.tools.process import Answer
from core_tests.tools.rabbitmq_queues import channel

CLIENTS = 3
KINDS = ("quorum", "classic")
MESSAGES = 60
"""More than the two consumers' prefetch."""


def handled_after(world: World, moment: float) -> bool:
    return any(entry.at > moment for entry in world.ledger.entries("done"))


def delete(world: World, name: str) -> None:
    with channel(world.node.url) as ch:
        ch.queue_delete(name)


def test_a_deleted_queue_is_made_anew_and_consumed_again(new_world: Worlds, row: WriteRow) -> None:
    worlds = iter([new_world() for _ in range(2 * len(KINDS))])
    tests = [partial(test, next(worlds), row, kind) for kind in KINDS for test in (deleted, recreated)]
    side_by_side(lambda test: test(), tests)


def deleted(world: World, row: WriteRow, queue_type: str) -> None:
    """Under load. Whoever finds it missing makes it anew."""
    service = world.service(queue_type=queue_type)
    service.start()
    asked: list[tuple[float, Answer]] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.wait(0.02):
            asked.append((time.monotonic(), service.publish(world.queue)))

    clients = [threading.Thread(target=publish, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    times = 2
    again: list[float] = []
    mine: set[str] = set()
    for _ in range(times):
        time.sleep(1)
        seen = len(asked)
        delete(world, world.queue)
        deleted = time.monotonic()
        wait_until(partial(handled_after, world, deleted + 0.05), 30)
        again.append(time.monotonic() - deleted)
        time.sleep(1)
        # What was in the queue when it was deleted is the operator's affair: those asked for later are not.
        mine |= {answer.content["message_id"] for at, answer in asked[seen:] if at > deleted and answer.status == 202}
    stop.set()
    for client in clients:
        client.join(60)
    world.all_handled(mine, 10)
    lost = mine - world.ledger.ids()
    errors = sum(answer.status != 202 for _, answer in asked)
    fault = f"the queue is deleted under the service, {times} times ({queue_type})"
    row(fault, "consuming again within 5 s", f"{max(again):.1f} s", max(again) < 10)
    row(
        fault,
        "no publish is answered 202 that went nowhere",
        f"{len(mine)} after it, {len(lost)} of them lost; {errors} of {len(asked)} answered with an error",
        bool(mine) and not lost,
    )
    said = service.log.count("the broker cancelled the consumer")
    row(fault, "the log says so", f"{said} times", said >= 1)


def recreated(world: World, row: WriteRow, queue_type: str) -> None:
    """By who deleted it, at once. RabbitMQ 3 does not tell the consumers of a quorum queue, nor does it feed them."""
    services = [world.service(queue_type=queue_type) for _ in range(2)]
    for service in services:
        service.start()
    config = RabbitMQQueueConfig.model_validate({"name": world.queue, "type": "rabbitmq", "queue_type": queue_type})
    with channel(world.node.url) as ch:
        ch.queue_delete(world.queue)
        ch.queue_declare(world.queue, durable=True, arguments=publishing_spec(config, world.queue).arguments)
    ids = world.sender().send(MESSAGES)
    seconds = world.all_handled(ids, 60)
    lost = len(ids - world.ledger.ids())
    fault = f"the queue is deleted and made anew in the same moment, under two services ({queue_type})"
    row(fault, "consuming again within 25 s", f"{seconds:.1f} s, {lost} of {len(ids)} not handled", not lost)
    row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)


def test_a_publish_to_a_deleted_queue_that_nobody_consumes_arrives(world: World, row: WriteRow) -> None:
    service = world.service(environment={"QUEUE_ROLE": "api"})
    service.start()
    wait_until(lambda: world.depth() == 0, 20)  # it is there
    delete(world, world.queue)
    answers = [service.publish(world.queue) for _ in range(12)]
    done = sum(answer.status == 202 for answer in answers)
    there = world.depth()
    fault = "the queue is deleted, and nobody consumes it"
    row(
        fault,
        "what is answered 202 is in the queue",
        f"{done} of 12 times 202, {there} in the queue",
        done == there > 0,
    )


def test_deleted_places_of_a_queue_are_made_anew(world: World, row: WriteRow) -> None:
    service = world.service()
    service.start()
    delete(world, dlq_name(world.queue))
    delete(world, retry_name(world.queue, 0.5))
    rejected = service.publish(world.queue, reject=True).content["message_id"]
    retried = service.publish(world.queue, fail_first=True).content["message_id"]
    wait_until(lambda: world.dead() == 1 and retried in world.ledger.ids(), 20)
    dead = [properties.message_id for properties, _ in world.dead_letters()]
    fault = "its DLQ and a wait queue are deleted"
    row(fault, "a reject is in the DLQ", f"{len(dead)}", dead == [rejected])
    row(fault, "a failure is tried again", f"{world.ledger.count('done', {retried})}", retried in world.ledger.ids())
