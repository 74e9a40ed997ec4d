"""`kill -9` of nodes of a cluster, under load: the leader of the queue, and those that the service is connected to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until
from core_tests.tools.process import Answer
from core_tests.tools.rabbitmq_cluster import RabbitMQCluster
from core_tests.tools.rabbitmq_node import RabbitMQNode
from core_tests.tools.rabbitmq_queues import channel
from core_tests.tools.rabbitmq_sender import Sender

PROMISED = 10
"""Seconds, on a quiet machine."""
BOUND = 20
PUBLISH_TIMEOUT = 5
CLIENTS = 2
OUTAGE = 15
"""Seconds without a majority."""


@pytest.fixture(scope="module")
def cluster(installed: None) -> Iterator[RabbitMQCluster]:
    """Three nodes that run."""
    cluster = RabbitMQCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def node(cluster: RabbitMQCluster) -> RabbitMQNode:
    """The one that the world's observers ask."""
    return cluster.nodes[0]


def leads(cluster: RabbitMQCluster, queue: str) -> RabbitMQNode | None:
    return cluster.leader(queue)


def feeds(cluster: RabbitMQCluster, queue: str) -> RabbitMQNode | None:
    return cluster.node_of(f"{queue} consume")


def takes(cluster: RabbitMQCluster, queue: str) -> RabbitMQNode | None:
    return cluster.node_of(f"{queue} publish")


ROLES = {"leads": leads, "feeds its consumer": feeds, "takes what it publishes": takes}
KILLS = (
    ("the queue's leader is killed", leads),
    ("the node that the service consumes from is killed", feeds),
    ("the node that the service publishes to is killed", takes),
)


def test_a_cluster_that_loses_one_node_after_another_loses_no_message(
    cluster: RabbitMQCluster, world: World, row: WriteRow
) -> None:
    load = Load(cluster, world, cluster.nodes)
    load.service.start()
    members = cluster.members(world.queue)
    names = {node.name for node in cluster.nodes}
    row("three nodes, several broker_urls", "the queue is on all of them", f"{len(members)} nodes", members == names)
    for fault, chosen in KILLS:
        node = chosen(cluster, world.queue)
        assert node is not None
        load.kill(row, fault, [node])
    load.check(row, f"nodes of a cluster are killed, {len(KILLS)} times")


def test_a_leader_that_dies_does_not_cost_the_connections_to_other_nodes(
    cluster: RabbitMQCluster, world: World, row: WriteRow
) -> None:
    first, *others = cluster.nodes
    with channel(first.url) as ch:  # a queue's first leader is where it is declared
        ch.queue_declare(world.queue, durable=True, arguments={"x-queue-type": "quorum", "x-delivery-limit": 1_000_000})
    fault = "the leader is killed, the service is at other nodes"
    load = Load(cluster, world, others)
    load.service.start()
    led = cluster.leader(world.queue) is first
    load.kill(row, fault, [first])
    lost = load.service.log.count("connecting again")
    row(
        fault,
        "no connection is lost for it",
        f"{lost} lost, {'it led' if led else 'it did not lead'}",
        led and not lost,
    )
    load.check(row, fault)


def test_a_cluster_that_loses_its_majority_loses_no_message(
    cluster: RabbitMQCluster, world: World, row: WriteRow
) -> None:
    fault = f"two nodes of three are killed for {OUTAGE} s"
    load = Load(cluster, world, cluster.nodes)
    load.service.start()
    load.kill(row, fault, cluster.nodes[1:], OUTAGE)
    load.check(row, fault)


class Load:
    """Messages at a cluster, sent straight to it and published over HTTP, and a service that is given these nodes."""

    def __init__(self, cluster: RabbitMQCluster, world: World, nodes: Sequence[RabbitMQNode]) -> None:
        urls = [node.url for node in nodes]
        self.service = world.service(broker_url=urls)
        self._sender = Sender(urls, world.queue)
        self._cluster = cluster
        self._world = world

    def kill(self, row: WriteRow, fault: str, nodes: Sequence[RabbitMQNode], outage: float = 0.0) -> None:
        """Kill these nodes for so many seconds, or until it flows again without them, and write rows about it."""
        cluster, world, service = self._cluster, self._world, self.service
        answers: list[Answer] = []
        failed_at: list[float] = []
        healths: list[Answer] = []
        handled = world.ledger.count()
        logged_before = len(service.log)

        def publish() -> None:
            answer = service.publish(world.queue)
            answers.append(answer)
            if answer.status != 202:
                failed_at.append(time.monotonic())

        with self._sender.sending(rate=200, sleep=0.002), repeating(CLIENTS, 0.1, publish):
            wait_until(lambda: world.ledger.count() > handled + 300)
            roles = [role for role, of in ROLES.items() if of(cluster, world.queue) in nodes]
            began = time.monotonic()
            with repeating(1, 0.01, lambda: healths.append(service.get("/health/queue"))), ExitStack() as down:
                for node in nodes:
                    down.enter_context(cluster.without(node))
                time.sleep(outage)
                if outage:
                    down.close()
                ended = time.monotonic() if outage else began
                flows = wait_until(lambda: world.steady(ended), 90) < 90
                again = world.longest_gap(began) if flows else (began, time.monotonic())
                service.wait_until(lambda: service.get("/health/ready").status == 200, "the service is ready again")
                fed_by = feeds(cluster, world.queue)
            wait_until(lambda: cluster.online(world.queue) == cluster.members(world.queue))
        sender = self._sender
        sender.confirmed |= {answer.content["message_id"] for answer in answers if answer.status == 202}
        sender.attempted |= {answer.content["message_id"] for answer in answers if answer.content}
        seconds = max(0.0, again[1] - max(ended, again[0]))
        row(
            fault,
            f"consuming again within {PROMISED} s" + ("" if outage else ", on another node"),
            f"{seconds:.1f} s; what died {', '.join(roles)}",
            flows and seconds < BOUND and fed_by is not None and (bool(outage) or fed_by not in nodes),
        )
        if {*roles} - {"leads"}:
            ill = [answer.content["queues"][world.queue]["detail"] for answer in healths if answer.status == 503]
            said = f"{len(ill)} times 503: {'; '.join(sorted({str(detail) for detail in ill}))}"
            # One that is there again after a few hundredths of a second may be missed here, but not in the log.
            logged = "connecting again" in service.log[logged_before:] and seconds < 0.2 and not outage
            row(fault, "/health/queue says so meanwhile, and why", said, all(ill) and (bool(ill) or logged))
        failures = [answer for answer in answers if answer.status != 202]
        slowest = max(answer.seconds for answer in answers)
        clear = all(answer.status == 503 and answer.content["detail"] for answer in failures)
        row(
            fault,
            f"a publish ends within {PUBLISH_TIMEOUT} s: done, or a clear error",
            f"{len(answers)} publishes, {len(failures)} times 503, the slowest {slowest:.1f} s",
            clear and slowest < PUBLISH_TIMEOUT + 2,
        )
        last = max(0.0, max(failed_at, default=ended) - ended)
        row(fault, f"publishing again within {PROMISED} s", f"the last 503 after {last:.1f} s", last < BOUND)

    def check(self, row: WriteRow, fault: str) -> None:
        """Wait for all messages, and write rows about what became of them."""
        world, sent = self._world, self._sender.confirmed
        world.all_handled(sent)
        verdict = world.verdict(self._sender)
        row(fault, "no message is lost", f"{len(sent):,} sent: {verdict}", not verdict.lost and not verdict.unexpected)
        row(fault, "nothing is dead-lettered for it", f"{world.dead()} in the DLQ", world.dead() == 0)
        storm = self.service.log.count("Traceback")
        row(fault, "no traceback in the log", storm, storm == 0)


@contextmanager
def repeating(threads: int, interval: float, function: Callable[[], object]) -> Iterator[None]:
    """Call `function` every `interval` seconds, in each of so many threads, until the end of the block."""
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(interval):
            function()

    running = [threading.Thread(target=repeat, daemon=True) for _ in range(threads)]
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in running:
            thread.join(60)
