"""HTTP in: whatever comes is answered, and a message is accepted whole and confirmed, or not at all."""

from __future__ import annotations

import hmac
import os
import socket
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
from fastapi import HTTPException

from app.queue.api import check_api_key
from core_tests.faults.conftest import WriteRow
from core_tests.faults.http_document import by_the_document
from core_tests.faults.http_requests import LIMIT, Case, Target, all_cases
from core_tests.faults.world import World, Worlds, side_by_side, wait_until
from core_tests.tools.process import API_KEY, Answer, ServiceProcess
from core_tests.tools.rabbitmq_queues import drain
from core_tests.tools.raw_http import exchange

AT_A_TIME = 40
MUTE = 200
SHOWN = 5
POSTERS = 20
PUBLISH_TIMEOUT = 5
KEY = "schlüssel-€"
"""A key that is not ASCII."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A request and its answer."""

    theme: str
    case: Case
    message_id: str
    answer: Answer

    @property
    def accepted(self) -> bool:
        return self.answer.status == 202

    @property
    def wrong(self) -> str:
        """What is wrong with the answer, if anything."""
        status, seconds = self.answer.status, self.answer.seconds
        silent = status in (401, 408, 413, 422) and not self.answer.content["detail"]
        if status in self.case.allowed and seconds < self.case.within and not silent:
            return ""
        return f"{self.case.name}: {status} after {seconds:.1f} s"


def test_whatever_comes_is_answered_and_accepted_whole_or_not_at_all(new_world: Worlds, row: WriteRow) -> None:
    worlds = [new_world() for _ in range(4)]
    tests = [
        lambda: byte_by_byte(worlds[0], worlds[1], row),
        lambda: by_the_document(worlds[2], row),
        lambda: frozen_link(worlds[3], row),
    ]
    side_by_side(lambda test: test(), tests)


def byte_by_byte(keeping: World, handling: World, row: WriteRow) -> None:
    """All of `http_requests`, at a service that handles no messages, and at one that does."""
    keeper = keeping.service(enable_consumer=False, max_message_bytes=LIMIT, environment={"API_KEY": KEY})
    handler = handling.service(max_message_bytes=LIMIT)
    keeper.start()
    handler.start()
    live: list[float] = []
    with ExitStack() as stack, ThreadPoolExecutor(AT_A_TIME) as pool:
        for _ in range(MUTE):
            stack.enter_context(socket.create_connection(("127.0.0.1", keeper.port))).sendall(b"POST /queues/")
        sending = send_all(pool, keeper, keeping.queue, KEY) + send_all(pool, handler, handling.queue, API_KEY)
        while not all(future.done() for future in sending):
            live += [service.get("/health/live").seconds for service in (keeper, handler)]
            time.sleep(0.2)
        sent = [future.result() for future in sending]
        served = keeper.get("/health/ready").status == handler.get("/health/ready").status == 200
        ended = keeper.terminate()
    for theme in dict.fromkeys(one.theme for one in sent):
        write_answers(row, theme, [one for one in sent if one.theme == theme])
    fault = "all of these together"
    row(fault, "others are served", f"/health/live after {max(live):.2f} s at most", served and max(live) < 2)
    errors = (keeper.log + handler.log).count("Traceback")
    row(fault, "no error goes unhandled", f"{errors} tracebacks in the log", errors == 0)
    row(fault, f"{MUTE} connections that say nothing don't hold up the end", f"{ended:.1f} s", ended < 15)
    compare_queue(row, fault, keeping, sent[: len(sent) // 2])
    compare_ledger(row, fault, handling, sent[len(sent) // 2 :])


def send_all(pool: ThreadPoolExecutor, service: ServiceProcess, queue: str, key: str) -> list[Future[Sent]]:
    """Send all there is."""

    def send(theme: str, case: Case) -> Sent:
        message_id = uuid.uuid4().hex
        target = Target(f"/queues/{queue}/messages", key.encode(), message_id.encode())
        return Sent(theme, case, message_id, exchange(service.port, case.pieces(target), cut=case.cut))

    return [pool.submit(send, theme, case) for theme, cases in all_cases(key.encode()).items() for case in cases]


def write_answers(row: WriteRow, theme: str, sent: list[Sent]) -> None:
    wrong = [one.wrong for one in sent if one.wrong]
    statuses = Counter(one.answer.status for one in sent)
    figure = "; ".join([f"{len(sent)} requests: {listed(statuses)}", *wrong[:SHOWN]])
    row(theme, "each gets its answer, and soon", figure, not wrong)


def compare_queue(row: WriteRow, fault: str, world: World, sent: list[Sent]) -> None:
    """What was accepted is what is in the queue, where nobody handles it."""
    accepted = {one.message_id: one.case.body for one in sent if one.accepted}
    found = drain(world.node.url, world.queue)
    there = {properties.message_id: body for properties, body in found}
    row(
        fault,
        "what was answered 202 is in the queue, byte by byte, and nothing else",
        f"{len(accepted)} of {len(sent)} accepted, {len(found)} there",
        there == accepted and len(found) == len(accepted),
    )


def compare_ledger(row: WriteRow, fault: str, world: World, sent: list[Sent]) -> None:
    """What was accepted is what was handled."""
    accepted = {one.message_id for one in sent if one.accepted}
    world.all_handled(accepted)
    handled, elsewhere = world.ledger.ids("begin"), world.depth() + world.dead() + len(world.parked())
    row(
        fault,
        "what was answered 202 is handled, and nothing else",
        f"{len(accepted)} of {len(sent)} accepted, {len(handled)} handled, {elsewhere} elsewhere",
        handled == world.ledger.ids() == accepted and not elsewhere,
    )


def frozen_link(world: World, row: WriteRow) -> None:
    """Nothing comes from the broker, and nothing gets there."""
    service = world.service()
    service.start()
    world.proxy.mode("freeze")
    with posting(service, world.queue) as answers:
        time.sleep(PUBLISH_TIMEOUT + 3)
        write_refusals(row, "the link to the broker is frozen", answers)
        world.proxy.mode("pass")
    be_ready(service, world.queue)
    world.all_handled(accepted(answers))
    write_absence(row, "the link to the broker is frozen", world, answers)


def test_an_api_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, row: WriteRow) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def noting(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noting)
    monkeypatch.setenv("API_KEY", "k\u00e9y")
    key = os.fsencode("k\u00e9y")
    guesses = [b"", b"x" + key[1:], key[:-1] + b"x", key + b"x", key]
    refused = 0
    for guess in guesses:
        try:
            check_api_key(guess.decode("latin-1"))
        except HTTPException:
            refused += 1
    row(
        "API keys",
        "compared as bytes, in constant time",
        f"{len(compared)} of {len(guesses)} guesses by hmac.compare_digest, {refused} refused",
        compared == [(guess, key) for guess in guesses] and refused == len(guesses) - 1,
    )


@contextmanager
def posting(service: ServiceProcess, queue: str) -> Iterator[list[Answer]]:
    """Post from many threads, until the end of the block."""
    answers: list[Answer] = []
    stop = threading.Event()

    def post() -> None:
        while not stop.is_set():
            answers.append(service.publish(queue, uuid.uuid4().hex))
            if answers[-1].status != 202:
                stop.wait(0.05)

    posters = [threading.Thread(target=post, daemon=True) for _ in range(POSTERS)]
    for poster in posters:
        poster.start()
    try:
        yield answers
    finally:
        stop.set()
        for poster in posters:
            poster.join(60)


def test_202_means_that_the_broker_has_confirmed_it(world: World, row: WriteRow) -> None:
    service = world.service()
    service.start()
    with world.node.memory_alarm(), posting(service, world.queue) as answers:
        time.sleep(PUBLISH_TIMEOUT + 1)
        write_refusals(row, "the broker has a memory alarm", answers)
    be_ready(service, world.queue)
    write_absence(row, "the broker has a memory alarm", world, answers)
    with posting(service, world.queue) as answers:
        service.wait_until(lambda: len(accepted(answers)) > 300, "300 messages are accepted")
        world.proxy.mode("mute")  # so that messages surely land whose confirmation does not come
        time.sleep(0.5)
        world.node.kill()
        world.proxy.mode("pass")
        before = len(accepted(answers))
        world.node.start()
        service.wait_until(lambda: len(accepted(answers)) > before + 300, "300 more are accepted")
    fault = f"the broker is killed while {POSTERS} clients publish"
    ids = accepted(answers)
    world.all_handled(ids)
    lost = len(ids - world.ledger.ids())
    statuses = Counter(answer.status for answer in answers)
    row(
        fault,
        "what was answered 202 is handled after its start",
        f"{before:,} before it, {len(ids):,} in all: lost {lost}",
        not lost,
    )
    row(fault, "a publish is 202 or 503", listed(statuses), {*statuses} <= {202, 503})
    write_absence(row, fault, world, answers)


def write_refusals(row: WriteRow, fault: str, answers: list[Answer]) -> None:
    """While nothing can be confirmed."""
    so_far = list(answers)
    statuses = Counter(answer.status for answer in so_far)
    slowest = max((answer.seconds for answer in so_far), default=0.0)
    row(
        fault,
        f"no 202, but 503 within {PUBLISH_TIMEOUT} s",
        f"{listed(statuses)}, the slowest {slowest:.1f} s",
        {*statuses} == {503} and slowest < PUBLISH_TIMEOUT + 2,
    )


def write_absence(row: WriteRow, fault: str, world: World, answers: list[Answer]) -> None:
    """After it, when all that landed is handled."""
    unavailable = [answer.content for answer in answers if answer.status == 503]
    refused = {content["message_id"] for content in unavailable if not content["may_have_landed"]}
    wait_until(lambda: world.depth() == 0)
    there = len(refused & world.ledger.ids("begin"))
    row(fault, "what says that it can't have landed has not", f"{len(refused):,} say so, {there} are there", not there)


def be_ready(service: ServiceProcess, queue: str) -> None:
    service.wait_until(lambda: service.publish(queue).status == 202, "it publishes again")


def accepted(answers: list[Answer]) -> set[str]:
    """The ids of those that were answered 202, as of now."""
    return {answer.content["message_id"] for answer in list(answers) if answer.status == 202}


def listed(statuses: Counter[int]) -> str:
    """The statuses in words."""
    return ", ".join(f"{count:,} times {status or 'closed'}" for status, count in sorted(statuses.items()))
