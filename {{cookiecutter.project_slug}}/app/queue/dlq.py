# The template's: an update changes it. Which files are yours: README.md.
"""`python -m app.queue.dlq`: what is in the dead-letter queues, from the command line; and back with it.

python -m app.queue.dlq                          how many messages lie in each
python -m app.queue.dlq QUEUE [--full]           the first ones, with what failed; nothing is changed
python -m app.queue.dlq QUEUE --replay           all of them back to their queue, with fresh attempts
python -m app.queue.dlq QUEUE --limit 1 ...      only the oldest: shown, or with --replay sent back
python -m app.queue.dlq QUEUE --parked ...       the same for parked_QUEUE
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from app.queue.config import load_queues
from app.queue.dead_letters import DeadLetter, count, peek, replay
from app.queue.errors import BrokerRefusedError, ConfigError, QueueError
from app.queue.messages.message import Place, place_name
from app.queue.providers import find_provider
from app.queue.settings.queues import QueueConfig
from app.queue.setup import get_dead_letters, get_processor

SHOWN = 20
SHOWN_BYTES = 200


def main(arguments: Sequence[str]) -> int:
    """Do what the command line says. Exit code 1 if the broker doesn't, 2 if what was asked for isn't there."""
    parser = argparse.ArgumentParser("python -m app.queue.dlq", description="Look into the dead-letter queues.")
    parser.add_argument("queue", nargs="?", help="a queue of queues.yaml; without it, all are counted")
    parser.add_argument("--parked", action="store_true", help="parked_<queue> instead of dlq_<queue>")
    parser.add_argument("--replay", action="store_true", help="send what is there now back, with fresh attempts")
    parser.add_argument(
        "--limit", type=_number, help=f"how many, the oldest first: to show ({SHOWN}), or with --replay to send (all)"
    )
    parser.add_argument("--full", action="store_true", help="with tracebacks, and bodies of any length")
    options = parser.parse_args(arguments)
    if options.queue is None and (options.replay or options.full):
        parser.error("--replay and --full go with a queue")
    place = Place.PARKED if options.parked else Place.DLQ
    try:
        queues = load_queues().queues
        chosen = [queue for queue in queues if options.queue in (None, queue.name)]
        if not chosen:
            raise ConfigError(f"no queue {options.queue!r}; there are {', '.join(queue.name for queue in queues)}")
        if options.queue is None:
            code = asyncio.run(_count(chosen))
        elif options.replay:
            code = asyncio.run(_replay(_with_place(chosen[0]), place, options.limit))
        else:
            limit = SHOWN if options.limit is None else options.limit
            code = asyncio.run(_show(_with_place(chosen[0]), place, limit, full=options.full))
        sys.stdout.flush()
    except BrokenPipeError:
        # `... | head`: who reads has seen enough. What Python flushes in the end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except QueueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return code


async def _count(queues: Sequence[QueueConfig]) -> int:
    failed = 0
    for queue in queues:
        for place in (Place.DLQ, Place.PARKED):
            name = place_name(queue.name, place)
            try:
                print(f"{name:<60} {await count(get_dead_letters(_with_place(queue), place))}")
            except ConfigError as error:
                print(f"{name:<60} -  ({error})")
                break
            except BrokerRefusedError as error:
                print(f"{name:<60} -  ({error}; has the service ever run on this broker?)")
                failed = 1
    return failed


async def _show(queue: QueueConfig, place: Place, limit: int, *, full: bool) -> int:
    listing = await peek(get_dead_letters(queue, place), limit)
    print(f"{place_name(queue.name, place)}: {listing.depth} messages")
    for letter in listing.letters:
        print(_described(letter, full=full))
    return 0


async def _replay(queue: QueueConfig, place: Place, limit: int | None) -> int:
    done = await replay(get_dead_letters(queue, place), get_processor(queue), limit)
    if done.sent or done.error is None:
        print(f"{done.sent} sent from {place_name(queue.name, place)} back to {queue.name}")
    if done.error is not None:
        raise done.error
    return 0


def _described(letter: DeadLetter, *, full: bool) -> str:
    attempts = "?" if letter.attempts is None else letter.attempts
    times = f"first {letter.first_failed_at or '?'}, last {letter.last_failed_at or '?'}"
    lines = [f"\n{letter.id}  {letter.reason or 'no reason given'}, {attempts} attempts, {times}"]
    if letter.error_type:
        lines.append(f"  {letter.error_type}: {letter.error}")
    if full:
        lines += [f"  | {line}" for line in letter.traceback.splitlines()]
    if letter.content_encoding:
        lines.append(f"  content encoding: {letter.content_encoding}")
    body = letter.body if full else letter.body[:SHOWN_BYTES]
    lines.append(f"  {body.decode('utf-8', 'backslashreplace')}{'...' if len(body) < len(letter.body) else ''}")
    return "\n".join(map(_printable, lines))


def _printable(text: str) -> str:
    """A message comes from anywhere: nothing in it may steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else f"\\x{ord(char):02x}" for char in text)


def _with_place(queue: QueueConfig) -> QueueConfig:
    """The queue. Raises ConfigError if there is nothing to look into."""
    if not find_provider(queue.type).claims.outlives_process:
        raise ConfigError(f"queue {queue.name!r} is embedded: only the process of its service can see its messages")
    if not queue.enable_dlq:
        raise ConfigError(f"queue {queue.name!r} has enable_dlq: false")
    return queue


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"must be a number of messages, not {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
