"""`python -m core_tests.tools.ledger_service` is `python -m app` with a handler that keeps a ledger, to try faults on.

The user's handlers and the user's `app/main.py` stay out of it; all the rest is what runs in production.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from fastapi import FastAPI

from app.__main__ import main as serve
from app.queue import publishing
from app.queue.config import QueueConfig, load_queues
from app.queue.errors import ConfigError
from app.queue.handling import Reject, current_delivery
from app.queue.interfaces import Delivery, QueueProcessor
from app.queue.messages.body import decode
from app.queue.messages.outcome import Action, Outcome
from app.queue.middleware import HandleNext
from app.queue.processor import MessageProcessor
from app.queue.providers import find_provider
from app.queue.publishing import publish, publish_from_thread
from app.queue.setup import queue_lifespan
from core_tests.tools.ledger import Ledger

LEDGER = Path(os.environ["LEDGER"])
ACK_TRAVELS = 0.3
"""Seconds: acks wait for others before they are sent, and then the broker has to read them."""
ledger = Ledger(LEDGER)
Ack = Callable[[QueueProcessor, Delivery], Awaitable[None]]


def note(mark: str) -> None:
    """Write down what happens to the message that is being handled."""
    info = current_delivery()
    ledger.note(mark, info.message_id, info.attempt)


def forwarded_id() -> str:
    """The id of the message that the one that is being handled sends on to the queue that it names."""
    return f"{current_delivery().message_id}-on"


def die_once(message_id: str, asked: object, stage: str) -> None:
    """`kill -9` of this process, if the message asks for it at this stage; once in the message's life."""
    if asked != stage:
        return
    try:
        LEDGER.with_suffix(f".{message_id}").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(10)


def act(message: dict[str, Any]) -> None:
    """Do what the message says."""
    info = current_delivery()
    if message.get("exit"):
        os._exit(9)
    die_once(info.message_id, message.get("die"), "in")
    if message.get("reject"):
        raise Reject("no, never")
    fails = message.get("fail") or (message.get("fail_first") and info.attempt == 1)
    if fails or ("needs" in message and LEDGER.with_suffix(f".{message['needs']}-is-down").exists()):
        raise RuntimeError("x" * message.get("text", 10))
    time.sleep(message.get("block", 0))


class LedgerHandler:
    """`work` is async, `plain` runs in a thread. Both sleep, act and note, as the message says."""

    async def work(self, message: dict[str, Any]) -> None:
        note("begin")
        try:
            await asyncio.sleep(message.get("sleep", 0))
            act(message)
            if "forward" in message:
                await publish(message["forward"], {"type": "work"}, message_id=forwarded_id())
        except asyncio.CancelledError:
            note("cancelled")
            raise
        note("done")

    def plain(self, message: dict[str, Any]) -> None:
        note("begin")
        time.sleep(message.get("sleep", 0))
        act(message)
        if "forward" in message:
            publish_from_thread(message["forward"], {"type": "work"}, message_id=forwarded_id())
        note("done")


async def dying(delivery: Delivery, call_next: HandleNext) -> Outcome:
    """Middleware that kills the process before the handler, or after it and before the delivery is settled."""
    die_once(delivery.message.message_id, asked_of(delivery), "before")
    outcome = await call_next(delivery)
    if outcome.action is not Action.QUARANTINE:
        die_once(delivery.message.message_id, asked_of(delivery), "after")
    return outcome


def dying_ack(ack: Ack) -> Ack:
    """An ack before or after which the process is killed: what is moved must be safe by then, and not before."""

    async def die_and_ack(handler: QueueProcessor, delivery: Delivery) -> None:
        asked = asked_of(delivery)
        die_once(delivery.message.message_id, asked, "before the ack")
        await ack(handler, delivery)
        if asked == "after the ack":
            await asyncio.sleep(ACK_TRAVELS)
            die_once(delivery.message.message_id, asked, "after the ack")

    return die_and_ack


def asked_of(delivery: Delivery) -> object:
    """When the message wants the process to die."""
    return decode(delivery.message.body)[0].get("die") if b'"die"' in delivery.message.body else None


def register(queues: Sequence[QueueConfig], processor: MessageProcessor) -> None:
    """A handler for every queue that is consumed."""
    for queue in queues:
        if queue.enable_consumer:
            processor.register_handler(queue.name, LedgerHandler())


async def counts() -> dict[str, int]:
    """How many tasks all event loops have, and how many objects the garbage collector knows."""
    gc.collect()
    loops = {asyncio.get_running_loop(), *publishing._by_loop}
    return {"tasks": sum(len(asyncio.all_tasks(loop)) for loop in loops), "objects": len(gc.get_objects())}


def main() -> int:
    """Serve until a signal."""
    try:
        queues = load_queues().queues
    except ConfigError:
        return serve()  # which says what is wrong
    processor: Any = find_provider(queues[0].type).processor
    app = FastAPI(lifespan=queue_lifespan([dying], register=partial(register, queues)))
    app.add_api_route("/counts", counts, include_in_schema=False)
    user_module = ModuleType("app.main")
    vars(user_module)["app"] = app
    with (
        mock.patch.dict(sys.modules, {"app.main": user_module}),
        mock.patch.object(processor, "ack", dying_ack(processor.ack)),
    ):
        return serve()


if __name__ == "__main__":
    sys.exit(main())
