"""Poison of every kind, with good messages behind each."""

from __future__ import annotations

import datetime as dt
import decimal
import time
from typing import Any

import pika

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World, wait_until
from core_tests.tools.rabbitmq_queues import channel


class NotText(str):
    """A text for pika, which encodes it, and no text on the wire."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


ATTEMPTS = 2
FAILING = b'{"type": "work", "fail": true, "n": %d}'
BIG = {f"h{number}": "v" * 1000 for number in range(129)}
EXTREME = {
    "greatest": 2**63 - 1,
    "least": -(2**63),
    "true": True,
    "none": None,
    "bytes": b"\x00\xff",
    "decimal": decimal.Decimal("1.5"),
    "time": dt.datetime(2100, 1, 1),  # noqa: DTZ001 - pika wants it so
    "list": [1, "a", None, {"x": [1]}],
    "table": {"a": {"b": {"c": 1}}},
    "long": "x" * 30_000,
    "": "no name",
    "queue-attempts": 2**62,
    "queue-crashes": -5,
    "dlq-reason": 5,
    "x-death": [{"count": 99, "queue": "somewhere", "reason": "expired"}],
}
LONG = {name: name[0] * 255 for name in ("content_type", "correlation_id", "reply_to", "type", "app_id")}
CASES: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "half a JSON object": (b"{", {}, "not_json"),
    "a JSON array": (b"[]", {}, "not_an_object"),
    "a JSON string": (b'"work"', {}, "not_an_object"),
    "null": (b"null", {}, "not_an_object"),
    "no type": (b"{}", {}, "no_type"),
    "a type that is a number": (b'{"type": 5}', {}, "no_type"),
    "a type that is a list": (b'{"type": ["work"]}', {}, "no_type"),
    "an unknown type": (b'{"type": "zzz"}', {}, "unknown_type"),
    "a private method": (b'{"type": "__init__"}', {}, "unknown_type"),
    "not UTF-8": (b"\xff\xfe", {}, "not_json"),
    "empty": (b"", {}, "not_json"),
    "more than 1 MB": (b'{"type": "work", "x": "%s"}' % (b"a" * 1_100_000), {}, "too_large"),
    "nested 100,000 deep": (b"[" * 100_000 + b"]" * 100_000, {}, "not_json"),
    "NaN": (b'{"type": "work", "x": NaN}', {}, "not_json"),
    "half a surrogate": (b'{"type": "work", "x": "\\ud800"}', {}, "not_json"),
    "rejected by the handler": (b'{"type": "work", "reject": true}', {}, "rejected"),
    "an error text of 300 kB": (b'{"type": "work", "fail": true, "text": 300000}', {}, "exhausted"),
    "129 kB of headers": (b'{"type": "zzz", "n": 1}', {"headers": BIG}, "unknown_type"),
    "129 kB of headers, failing": (FAILING % 1, {"headers": BIG}, "exhausted"),
    "headers of every type": (b'{"type": "zzz", "n": 2}', {"headers": EXTREME}, "unknown_type"),
    "headers of every type, failing": (FAILING % 2, {"headers": EXTREME}, "exhausted"),
    "properties of 255 bytes": (FAILING % 3, {**LONG, "priority": 255}, "exhausted"),
    "an encoding of 255 letters": (b'{"type": "work", "n": 3}', {"content_encoding": "c" * 255}, "bad_encoding"),
    "properties that are not UTF-8": (FAILING % 4, {"app_id": b"\xff\xfe", "headers": {b"\xff": b"\xfe"}}, "exhausted"),
    "the first second of time, and an expiration": (
        FAILING % 5,
        {"timestamp": 0, "expiration": "60000", "user_id": "guest"},
        "exhausted",
    ),
    "a time of 292 billion years": (FAILING % 6, {"timestamp": 2**63 - 1}, "exhausted"),
    "a time of twice that": (FAILING % 7, {"timestamp": 2**64 - 1}, "exhausted"),
    "a text header that is no text": (FAILING % 8, {"headers": {"text": NotText()}}, "exhausted"),
    "no message_id": (b'{"n": 1', {"message_id": None}, "not_json"),
    "a message_id of 255 bytes": (b'{"n": 2', {"message_id": "m" * 255}, "not_json"),
}
"""Body, properties, and the reason in the DLQ."""
GOOD = b'{"type": "work"}'


def test_poison_is_dead_lettered_once_with_its_reason_and_holds_nothing_up(world: World, row: WriteRow) -> None:
    service = world.service(retry={"max_attempts": ATTEMPTS, "initial_delay": 0.1})
    service.start()
    good: set[str] = set()
    with channel(world.node.url) as ch:
        ch.confirm_delivery()
        for number, (body, given, _) in enumerate(CASES.values()):
            properties = pika.BasicProperties(**{"message_id": f"poison-{number}", "delivery_mode": 2, **given})
            ch.basic_publish("", world.queue, body, properties, mandatory=True)
            for name in (f"good-{number}-1", f"good-{number}-2"):
                properties = pika.BasicProperties(message_id=name, delivery_mode=2)
                ch.basic_publish("", world.queue, GOOD, properties, mandatory=True)
                good.add(name)
    behind = world.all_handled(good, 30)
    wait_until(lambda: world.dead() >= len(CASES), 30)
    dead = world.dead_letters()
    wrong: list[str] = []
    calls: list[str] = []
    for number, (name, (body, _, reason)) in enumerate(CASES.items()):
        reasons = [properties.headers.get("dlq-reason") for properties, found in dead if found == body]
        if reasons != [reason]:
            wrong.append(f"{name}: {reasons}")
        expected = {"exhausted": ATTEMPTS, "rejected": 1}.get(reason, 0)
        if world.ledger.count("begin", {f"poison-{number}"}) != expected:
            calls.append(f"{name}: {world.ledger.count('begin', {f'poison-{number}'})} calls, not {expected}")
    sizes = [
        sum(len(str(key)) + len(str(value)) for key, value in properties.headers.items() if str(key).startswith("dlq-"))
        for properties, _ in dead
    ]
    reconnects = service.log.count("connecting again")
    fault = f"poison of {len(CASES)} kinds"
    right = len(CASES) - len(wrong)
    row(
        fault,
        "each is in the DLQ once, as it came, with its reason",
        "; ".join([f"{right} of {len(CASES)}", *wrong]),
        not wrong and len(dead) == len(CASES),
    )
    row(fault, "what can never succeed costs no retry", "; ".join(calls) or "none", not calls)
    row(fault, "good messages behind it are handled", f"after {behind:.1f} s", good <= world.ledger.ids())
    row(
        fault,
        "the DLQ's headers are a few kB",
        f"{max(sizes, default=0):,} bytes at most",
        max(sizes, default=0) < 8000,
    )
    row(fault, "the connection lives on", f"{reconnects} reconnects", reconnects == 0)


def test_a_failed_message_that_names_further_receivers_is_in_one_place(world: World, row: WriteRow) -> None:
    service = world.service(retry={"max_attempts": ATTEMPTS, "initial_delay": 0.1})
    service.start()
    with channel(world.node.url) as ch:
        ch.confirm_delivery()
        for name, body in (("poison", b"{"), ("failing", FAILING % 9)):
            properties = pika.BasicProperties(message_id=name, delivery_mode=2, headers={"CC": [world.queue]})
            ch.basic_publish("", world.queue, body, properties, mandatory=True)
    wait_until(lambda: world.dead() >= 2, 30)
    time.sleep(3)
    found = sorted(properties.message_id for properties, _ in world.dead_letters())
    calls = world.ledger.count("begin", {"failing"})
    row(
        "a message with the header CC to its own queue fails, and another is poison",
        "one message, one place",
        f"{len(found)} in the DLQ after 3 s, {world.depth()} in the queue, {calls} calls",
        found == ["failing", "poison"] and not world.depth() and calls == ATTEMPTS,
    )
