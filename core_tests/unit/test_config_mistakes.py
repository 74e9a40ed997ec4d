"""Every way to get `queues.yaml` wrong, and the one message for each, which holds no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.queue.errors import ConfigError
from core_tests.tools.queues_file import Load, queue_yaml

SECRET = "s3cret-hunter2"
ONE_QUEUE = "queues: [{name: my_queue, type: memory}]"
QUEUE = "queue 'my_queue'"

WRONG_FILES = {
    "empty": ("", ["must be a mapping with the key 'queues'"]),
    "a list": ("- name: a", ["must be a mapping with the key 'queues'"]),
    "no queues": ("consumer_threads: 2", ["key 'queues' must be a list"]),
    "an empty list of queues": ("queues: []", ["key 'queues' must be a list with at least one queue"]),
    "queues as a mapping": ("queues: {my_queue: {type: memory}}", ["key 'queues' must be a list"]),
    "a queue that is text": ("queues: [my_queue]", ["queue number 1", "must be a mapping"]),
    "the second queue has no name": (
        "queues: [{name: a, type: memory}, {type: memory}]",
        ["queue number 2", "key 'name'", "required"],
    ),
    "no type": ("queues: [{name: my_queue}]", [QUEUE, "key 'type' must name a provider", "type: rabbitmq"]),
    "a type that is not there": ("queues: [{name: my_queue, type: kafka}]", [QUEUE, "key 'type'", "memory"]),
    "a number as name": ("queues: [{name: 5, type: memory}]", ["queue number 1", "key 'name'", "string"]),
    "the same name twice": (
        "queues: [{name: a, type: memory}, {name: a, type: memory}]",
        ["queue 'a' is there twice"],
    ),
    "broken YAML": ("queues: [", ["line 1", "not valid YAML"]),
    "a tab": ("queues:\n\t- name: a", ["line 2", "not valid YAML"]),
    "a key of a queue twice": (queue_yaml("prefetch: 1", "prefetch: 2"), ["line 5", "key 'prefetch' is there twice"]),
    "a key of the file twice": ("queues: []\nqueues: []", ["line 2", "key 'queues' is there twice"]),
    "an unknown key of the file": (ONE_QUEUE + "\nconsumer_thread: 2", ["'consumer_thread'", "'consumer_threads'?"]),
    "an unlike key of the file": (
        ONE_QUEUE + "\nzzz: 2",
        ["key 'zzz': unknown key", "known are: consumer_threads, drain, queues"],
    ),
    "a wrong type in the file": (ONE_QUEUE + "\nconsumer_threads: many", ["key 'consumer_threads'", "integer"]),
    "no threads": (ONE_QUEUE + "\nconsumer_threads: 0", ["key 'consumer_threads'", "greater than or equal to 1"]),
    "an unknown key in drain": (ONE_QUEUE + "\ndrain: {timout: 2}", ["key 'drain.timout'", "'timeout'?"]),
    "an unknown key": (queue_yaml("prefetc: 2"), [QUEUE, "key 'prefetc': unknown key; did you mean 'prefetch'?"]),
    "an unlike key": (queue_yaml("zzz: 2"), [QUEUE, "key 'zzz': unknown key; known are: ", "concurrency", "retry"]),
    "an unknown key in retry": (
        queue_yaml("retry: {max_atempts: 2}"),
        [QUEUE, "key 'retry.max_atempts': unknown key; did you mean 'max_attempts'?"],
    ),
    "an unlike key in dlq": (
        queue_yaml("dlq: {zzz: 2}"),
        [QUEUE, "key 'dlq.zzz': unknown key; known are: max_retries, retry_interval"],
    ),
    "text for a number": (queue_yaml("prefetch: lots"), [QUEUE, "key 'prefetch'", "integer"]),
    "half a message": (queue_yaml("prefetch: 1.5"), [QUEUE, "key 'prefetch'", "integer"]),
    "text for yes or no": (queue_yaml("enable_dlq: maybe"), [QUEUE, "key 'enable_dlq'", "boolean"]),
    "a number for a section": (queue_yaml("retry: 5"), [QUEUE, "key 'retry'"]),
    "nothing for a section": (queue_yaml("retry:"), [QUEUE, "key 'retry'"]),
    "infinity": (queue_yaml("handler_timeout: .inf"), [QUEUE, "key 'handler_timeout'"]),
    "not a number": (queue_yaml("handler_timeout: .nan"), [QUEUE, "key 'handler_timeout'"]),
    "no attempts": (queue_yaml("retry: {max_attempts: 0}"), [QUEUE, "key 'retry.max_attempts'", "equal to 1"]),
    "shrinking delays": (queue_yaml("retry: {multiplier: 0.5}"), [QUEUE, "key 'retry.multiplier'", "equal to 1"]),
    "a negative interval": (queue_yaml("dlq: {retry_interval: -1}"), [QUEUE, "key 'dlq.retry_interval'"]),
    "no concurrency": (queue_yaml("concurrency: 0"), [QUEUE, "key 'concurrency'"]),
    "more handlers than messages": (
        queue_yaml("prefetch: 5", "concurrency: 6"),
        [QUEUE, "concurrency is more than prefetch", "raise prefetch"],
    ),
    "a typing error in queues": ("queue:\n  - {name: my_queue, type: memory}", ["key 'queue'", "mean 'queues'?"]),
    "a wrong variable": (queue_yaml('prefetch: "${9}"'), [QUEUE, "key 'prefetch'", "${NAME} or ${NAME:-default}"]),
    "a date that is none": (queue_yaml("prefetch: 2024-13-45"), ["not valid YAML"]),
}


@pytest.mark.parametrize(("text", "parts"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_mistake_is_one_line_that_begins_with_the_file_and_says_what_is_wrong(
    load: Load, file: Path, text: str, parts: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    message = str(caught.value)
    assert message.startswith(str(file))
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


def test_several_mistakes_of_a_queue_are_told_at_once_a_line_each(load: Load) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml("prefetch: lots", "retry: {max_attempts: 0}", "conurrency: 2"))
    first, *lines = str(caught.value).splitlines()
    assert first.endswith("queue 'my_queue': ")
    assert [line.split("'")[1] for line in lines] == ["prefetch", "retry.max_attempts", "conurrency"]


@pytest.mark.parametrize("name", ["", "-a", ".a", "a b", "a/b", "ä", "a\n", "a" * 129])
def test_a_name_that_a_broker_may_not_take_is_refused(load: Load, name: str) -> None:
    with pytest.raises(ConfigError, match=r"key 'name': a name has 1 to 128 letters"):
        load(f"queues: [{{name: {name!r}, type: memory}}]".replace("'a\\n'", '"a\\n"'))


@pytest.mark.parametrize("name", ["dlq_orders", "parked_orders", "quarantine_orders", "retry_orders_1000"])
def test_a_name_that_is_reserved_for_the_places_of_a_queue_is_refused(load: Load, name: str) -> None:
    with pytest.raises(ConfigError, match=f"queue '{name}': key 'name': a name can't begin with dlq_, parked_"):
        load(f"queues: [{{name: {name}, type: memory}}]")


@pytest.mark.parametrize("name", ["a", "my_queue", "Orders.EU-1", "9", "a" * 128, "dlq"])
def test_a_good_name_is_taken(load: Load, name: str) -> None:
    assert load(f"queues: [{{name: {name!r}, type: memory}}]").queues[0].name == name


@pytest.mark.parametrize(
    "keys",
    [["prefetch: 1"], ["prefetch: 50", "concurrency: 50"], ["concurrency: 20"], ["prefetch: 1", "concurrency: 1"]],
)
def test_a_small_prefetch_alone_is_fine(load: Load, keys: list[str]) -> None:
    assert load(queue_yaml(*keys)).queues[0].prefetch >= 1


# --- secrets


SECRETS = {
    "for a number": queue_yaml(f"prefetch: {SECRET}"),
    "for a section": queue_yaml(f"retry: {SECRET}"),
    "for yes or no": queue_yaml(f"enable_dlq: {SECRET}"),
    "in a list": queue_yaml(f"handler_timeout: [{SECRET}]"),
    "of an unknown key": queue_yaml(f"passwort: {SECRET}"),
    "that looks like a tag": queue_yaml(f"passwort: !{SECRET}"),
    "that looks like an alias": queue_yaml(f"passwort: *{SECRET}"),
    "with one quote": queue_yaml(f'passwort: "{SECRET}'),
    "with a colon": queue_yaml(f"passwort: {SECRET}: x"),
    "of a key that is there twice": queue_yaml(f"passwort: {SECRET}", "passwort: x"),
    "in half a variable": queue_yaml(f'passwort: "${{ {SECRET}"'),
    "before a wrong variable": queue_yaml(f'passwort: "{SECRET}${{}}"'),
    "before a missing variable": queue_yaml(f'passwort: "{SECRET}${{QUEUE_TEST_UNSET}}"'),
    "for a queue": f"queues: [amqp://bob:{SECRET}@host]",
    "for all queues": f"queues: {SECRET}",
    "for a type": f"queues: [{{name: my_queue, type: 'amqp://bob:{SECRET}@host'}}]",
    "for a name": f"queues: [{{name: 'amqp://bob:{SECRET}@host', type: memory}}]",
    "for the threads": f"consumer_threads: {SECRET}\n{ONE_QUEUE}",
    "for the file": SECRET,
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_no_message_repeats_a_value_for_it_may_be_a_password_in_the_wrong_place(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_message_repeats_what_a_variable_held(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", SECRET)
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml("prefetch: ${MY_PASSWORD}"))
    assert SECRET not in str(caught.value)
