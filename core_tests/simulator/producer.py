"""The producer: a process that only publishes, as the service does for HTTP, and tries until it is confirmed."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING

from app.queue import setup
from app.queue.errors import PublishError
from app.queue.processor import MessageProcessor
from app.queue.run.service import QueueService
from app.queue.run.sides import Home
from app.queue.settings.queues import DrainConfig, QueuesConfig
from core_tests.simulator.connection import SimulatedConfig
from core_tests.simulator.scenario import Kind, Sent, message_id

if TYPE_CHECKING:
    from core_tests.simulator.world import World

SEND_AGAIN = 0.5
MORE = 1000
"""Numbers of messages that are in no scenario."""
DRAIN = DrainConfig(delay=0.0, timeout=10.0)


def service_of(config: SimulatedConfig, dispatcher: MessageProcessor) -> tuple[QueuesConfig, QueueService]:
    """The service for this one queue, as `setup.py` puts it together, and its configuration."""
    queues = QueuesConfig.model_construct(queues=[config], drain=DRAIN, consumer_threads=1)
    return queues, setup.build_service(queues, dispatcher)


class Producer:
    """It never dies, but its wires do."""

    def __init__(self, world: World) -> None:
        self.loop = world.loop("producer")
        self.unsent = len(world.scenario.messages)
        self._world = world
        self._more = 0

    def start(self, dispatcher: MessageProcessor) -> None:
        """Publish what the scenario says, each message at its time."""
        for sent in self._world.scenario.messages:
            self.loop.call_at(sent.at, self._send, sent, context=contextvars.Context())
        self.loop.call_soon(self._open, dispatcher)

    def _open(self, dispatcher: MessageProcessor) -> None:
        queues, service = service_of(self._world.config, dispatcher)
        self._home = Home(queues, service._parts)

    def one_more(self) -> None:
        """Publish a good message, so that no pause goes on for want of one that could end it."""
        self._more += 1
        sent = Sent(MORE + self._more, Kind.GOOD, self.loop.time(), 0.0)
        self._world.sent[sent.number] = sent
        self.unsent += 1
        self.loop.call_soon(self._send, sent, context=contextvars.Context())

    def _send(self, sent: Sent) -> None:
        self.loop.create_task(self._publish(sent))

    async def _publish(self, sent: Sent) -> None:
        body = "no JSON" if sent.kind is Kind.POISON else {"type": "work", "n": sent.number}
        publisher, ledger, attempt = self._home.publisher(self._world.config.name), self._world.ledger, 0
        while True:
            attempt += 1
            name = message_id(sent.number, attempt)
            try:
                await publisher.publish_message(publisher.queue_name, body, message_id=name)
            except PublishError as error:
                ledger.note("unconfirmed", name, type(error).__name__)
                await asyncio.sleep(SEND_AGAIN)
            else:
                ledger.fate(name).confirmed = True
                ledger.note("confirmed", name)
                self.unsent -= 1
                return
