"""`python -m app.queue.dlq`: what is in the dead-letter queues, from the command line; and back with it.

python -m app.queue.dlq                          how many messages lie in each
python -m app.queue.dlq QUEUE [--full]           the first ones, with what failed; nothing is changed
python -m app.queue.dlq QUEUE --replay           all of them back to their queue, with fresh attempts
python -m app.queue.dlq QUEUE --parked ...       the same for parked_QUEUE
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from app.queue.config import QueueConfig, load_queues
from app.queue.errors import BrokerRefusedError, ConfigError, QueueError
from app.queue.headers import FRESH, with_history
from app.queue.interfaces import Message, Place
from app.queue.names import place_name
from app.queue.providers import find_provider
from app.queue.setup import get_dead_letters, get_processor

SHOWN_BYTES = 200


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says. Exit code 1 if the broker doesn't, 2 if what was asked for isn't there."""
    parser = argparse.ArgumentParser("python -m app.queue.dlq", description="Look into the dead-letter queues.")
    parser.add_argument("queue", nargs="?", help="a queue of queues.yaml; without it, all are counted")
    parser.add_argument("--parked", action="store_true", help="parked_<queue> instead of dlq_<queue>")
    parser.add_argument("--replay", action="store_true", help="send what is there now back, with fresh attempts")
    parser.add_argument("--limit", type=int, default=20, help="how many to show (20)")
    parser.add_argument("--full", action="store_true", help="with tracebacks, and bodies of any length")
    options = parser.parse_args(arguments)
    if options.queue is None and (options.replay or options.full):
        parser.error("--replay and --full go with a queue")
    try:
        queues = load_queues().queues
        chosen = [queue for queue in queues if options.queue in (None, queue.name)]
        if not chosen:
            raise ConfigError(f"no queue {options.queue!r}; there are {', '.join(queue.name for queue in queues)}")
        place = Place.PARKED if options.parked else Place.DLQ
        if options.queue is None:
            return asyncio.run(count(chosen))
        if options.replay:
            asyncio.run(replay(_with_place(chosen[0]), place))
        else:
            asyncio.run(show(_with_place(chosen[0]), place, options.limit, full=options.full))
    except QueueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


async def count(queues: Sequence[QueueConfig]) -> int:
    """Print how many messages lie in the places of these queues. Returns 1 if one could not be asked, or else 0."""
    failed = 0
    for queue in queues:
        for place in (Place.DLQ, Place.PARKED):
            name = place_name(queue.name, place)
            try:
                reader = get_dead_letters(_with_place(queue), place)
            except ConfigError as error:
                print(f"{name:<60} -  ({error})")
                break
            try:
                print(f"{name:<60} {await reader.depth()}")
            except BrokerRefusedError as error:
                print(f"{name:<60} -  ({error}; has the service ever run on this broker?)")
                failed = 1
            finally:
                await reader.close()
    return failed


async def show(queue: QueueConfig, place: Place, limit: int, *, full: bool) -> None:
    """Print the first messages. They are taken in hand, and given back to their place in the end."""
    reader = get_dead_letters(queue, place)
    try:
        depth = await reader.depth()
        print(f"{place_name(queue.name, place)}: {depth} messages")
        for _ in range(min(depth, limit)):
            delivery = await reader.take()
            if delivery is None:
                break
            print(described(delivery.message, full=full))
    finally:
        await reader.close()


async def replay(queue: QueueConfig, place: Place) -> None:
    """Send what is there now back to its queue, one after the other."""
    reader, processor = get_dead_letters(queue, place), get_processor(queue)
    sent = 0
    try:
        for _ in range(await reader.depth()):
            delivery = await reader.take()
            if delivery is None:
                break
            await processor.hand_over(delivery, with_history(delivery.message, FRESH), Place.QUEUE)
            sent += 1
    finally:
        await reader.close()
        await processor.close()
        print(f"{sent} sent from {place_name(queue.name, place)} back to {queue.name}")


def described(message: Message, *, full: bool) -> str:
    """A message and its failure, as lines of text."""
    headers = message.headers
    times = f"first {headers.get('dlq-first-failed-at', '?')}, last {headers.get('dlq-last-failed-at', '?')}"
    why = f"{headers.get('dlq-reason', 'no reason given')}, {headers.get('dlq-attempts', '?')} attempts"
    lines = [f"\n{message.message_id}  {why}, {times}"]
    if "dlq-exception-type" in headers:
        lines.append(f"  {headers['dlq-exception-type']}: {headers.get('dlq-exception-message', '')}")
    if full and "dlq-traceback" in headers:
        lines += [f"  | {line}" for line in str(headers["dlq-traceback"]).splitlines()]
    body = message.body if full else message.body[:SHOWN_BYTES]
    lines.append(f"  {body.decode('utf-8', 'backslashreplace')}{'...' if len(body) < len(message.body) else ''}")
    return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """A message comes from anywhere: nothing in it may steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)


def _with_place(queue: QueueConfig) -> QueueConfig:
    """The queue. Raises ConfigError if there is nothing to look into."""
    if find_provider(queue.type).in_process:
        raise ConfigError(f"queue {queue.name!r} is embedded: only the process of its service can see its messages")
    if not queue.enable_dlq:
        raise ConfigError(f"queue {queue.name!r} has enable_dlq: false")
    return queue


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
