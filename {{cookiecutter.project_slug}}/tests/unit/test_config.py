"""`queues.yaml` for any provider: what loads, and the one message for everything that doesn't."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from app.queue.config import QueueConfig, QueuesConfig, RetryConfig, load_queues
from app.queue.errors import ConfigError

Load = Callable[[str], QueuesConfig]
SECRET = "s3cret-hunter2"
ONE_QUEUE = "queues: [{name: my_queue, type: memory}]"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "queues.yaml"


@pytest.fixture
def load(file: Path) -> Load:
    def write_and_load(text: str) -> QueuesConfig:
        file.write_text(text, encoding="utf-8")
        return load_queues(file)

    return write_and_load


def queue_yaml(*lines: str) -> str:
    """A file with one queue, `my_queue`, with these lines added to it."""
    return "\n    ".join(["queues:\n  - name: my_queue", "type: memory", *lines]) + "\n"


def test_two_lines_are_a_queue_and_all_else_has_a_default(load: Load) -> None:
    config = load(queue_yaml())
    (queue,) = config.queues
    assert (queue.name, queue.type) == ("my_queue", "memory")
    assert (queue.enable_consumer, queue.enable_publisher, queue.enable_dlq) == (True, True, True)
    assert queue.retry.max_attempts == 5
    assert queue.dlq.retry_interval == 300
    assert config.consumer_threads == 4


def test_every_key_of_a_queue_and_of_the_file_is_taken(load: Load) -> None:
    config = load(
        queue_yaml(
            "enable_consumer: false",
            "enable_publisher: false",
            "enable_dlq: false",
            "prefetch: 7",
            "concurrency: 3",
            "handler_timeout: 12.5",
            "publish_timeout: 2",
            "max_message_bytes: 1000",
            "retry: {max_attempts: 4, initial_delay: 0.5, multiplier: 3, max_delay: 60}",
            "dlq: {retry_interval: 0, max_retries: 9}",
            "circuit_breaker: {fail_max: 2, reset_timeout: 1.5}",
            "pause: {after: 0, initial_delay: 2, max_delay: 30}",
        )
        + "consumer_threads: 8\ndrain: {delay: 0, timeout: 3}\n"
    )
    assert config.model_dump() == {
        "queues": [
            {
                "name": "my_queue",
                "type": "memory",
                "enable_consumer": False,
                "enable_publisher": False,
                "enable_dlq": False,
                "prefetch": 7,
                "concurrency": 3,
                "handler_timeout": 12.5,
                "publish_timeout": 2.0,
                "max_message_bytes": 1000,
                "retry": {"max_attempts": 4, "initial_delay": 0.5, "multiplier": 3.0, "max_delay": 60.0},
                "dlq": {"retry_interval": 0.0, "max_retries": 9},
                "circuit_breaker": {"fail_max": 2, "reset_timeout": 1.5},
                "pause": {"after": 0, "initial_delay": 2.0, "max_delay": 30.0},
            }
        ],
        "consumer_threads": 8,
        "drain": {"delay": 0.0, "timeout": 3.0},
    }


def test_the_queues_keep_the_order_of_the_file_and_are_found_by_name(load: Load) -> None:
    config = load("queues: [{name: b, type: memory}, {name: a, type: memory}]")
    assert [queue.name for queue in config.queues] == ["b", "a"]
    assert config.queue("a") is config.queues[1]
    assert config.queue("c") is None


def test_yaml_anchors_and_merge_keys_work(load: Load) -> None:
    first, second = load("queues:\n  - &first {name: a, type: memory, prefetch: 3}\n  - {<<: *first, name: b}\n").queues
    assert (first.name, first.prefetch) == ("a", 3)
    assert (second.name, second.prefetch) == ("b", 3)


def test_nothing_changes_after_loading(load: Load) -> None:
    queue = load(queue_yaml()).queues[0]
    with pytest.raises(ValidationError, match="frozen"):
        queue.prefetch = 1  # type: ignore[misc]


# --- which file


def test_queues_yaml_in_the_current_folder_is_the_default(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(ONE_QUEUE)
    monkeypatch.chdir(file.parent)
    assert load_queues().queues[0].name == "my_queue"


def test_queues_file_names_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.yml"
    other.write_text(ONE_QUEUE)
    monkeypatch.setenv("QUEUES_FILE", str(other))
    assert load_queues().queues[0].name == "my_queue"


def test_a_path_that_is_given_counts_more_than_queues_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(ONE_QUEUE)
    monkeypatch.setenv("QUEUES_FILE", "/nowhere.yaml")
    assert load_queues(file).queues[0].name == "my_queue"


def test_a_file_that_is_not_there_is_named_with_the_folder_and_queues_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_queues("missing.yaml")
    assert all(part in str(caught.value) for part in ("missing.yaml", "no such file", str(tmp_path), "QUEUES_FILE"))


def test_a_folder_in_place_of_the_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_queues(tmp_path)


def test_a_file_that_is_not_utf_8_is_an_error_that_names_it(file: Path) -> None:
    file.write_bytes(b"queues: [{name: caf\xe9, type: memory}]")
    with pytest.raises(ConfigError, match=r"queues\.yaml: can't be read"):
        load_queues(file)


# --- every way to get it wrong

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
    "too many delays": (
        queue_yaml("retry: {max_attempts: 100, multiplier: 1.01}"),
        [QUEUE, "key 'retry'", "99 different delays", "at most 32", "lower max_attempts or max_delay", "multiplier"],
    ),
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


@pytest.mark.parametrize("name", ["dlq_orders", "parked_orders", "retry_orders_1000"])
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


# --- the environment in the file


def test_a_variable_is_filled_in_at_any_depth(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_NAME", "from_env")
    monkeypatch.setenv("ATTEMPTS", "2")
    monkeypatch.setenv("KIND", "memory")
    monkeypatch.setenv("THREADS", "6")
    config = load(
        "queues: [{name: '${MY_NAME}', type: '${KIND}', retry: {max_attempts: '${ATTEMPTS}'}}]\n"
        "consumer_threads: ${THREADS}"
    )
    assert config.queues[0].name == "from_env"
    assert config.queues[0].retry.max_attempts == 2
    assert config.consumer_threads == 6


def test_the_default_of_a_variable_counts_where_it_is_not_set(load: Load) -> None:
    assert load(queue_yaml("prefetch: ${QUEUE_TEST_UNSET:-9}")).queues[0].prefetch == 9


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("prefetch: ${QUEUE_TEST_UNSET}", "'prefetch'"),
        ("retry: {max_attempts: '${QUEUE_TEST_UNSET}'}", "'max_attempts'"),
    ],
)
def test_a_missing_variable_names_the_file_the_queue_and_the_key(load: Load, file: Path, line: str, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(line))
    message = str(caught.value)
    assert message.startswith(f"{file}: queue 'my_queue', key ")
    assert f"key {key}: environment variable QUEUE_TEST_UNSET is not set" in message


def test_a_missing_variable_at_the_top_names_the_file_and_the_key(load: Load, file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(ONE_QUEUE + "\nconsumer_threads: ${QUEUE_TEST_UNSET}")
    assert str(caught.value).startswith(
        f"{file}, key 'consumer_threads': environment variable QUEUE_TEST_UNSET is not set"
    )


def test_two_queues_whose_names_become_the_same_are_refused(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_NAME", "a")
    with pytest.raises(ConfigError, match="queue 'a' is there twice"):
        load("queues: [{name: a, type: memory}, {name: '${MY_NAME}', type: memory}]")


# --- QUEUE_PROVIDER


def test_a_queue_provider_that_is_not_there_names_the_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "kafka")
    with pytest.raises(ConfigError, match=r"environment variable QUEUE_PROVIDER: .*memory"):
        load(queue_yaml())


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


# --- delays


@pytest.mark.parametrize(
    ("retry", "delays"),
    [
        (RetryConfig(), (1, 2, 4, 8)),
        (RetryConfig(max_attempts=1), (1,)),
        (RetryConfig(max_attempts=2), (1,)),
        (RetryConfig(max_attempts=6, max_delay=5), (1, 2, 4, 5)),
        (RetryConfig(max_attempts=1000, multiplier=1, initial_delay=3), (3,)),
        (RetryConfig(max_attempts=3, initial_delay=0.1, multiplier=1.5), (0.1, 0.15)),
        (RetryConfig(max_attempts=3, initial_delay=600), (300,)),
    ],
)
def test_the_delays_grow_by_the_multiplier_up_to_the_longest(retry: RetryConfig, delays: tuple[float, ...]) -> None:
    assert retry.delays() == delays
    assert [retry.delay(failures) for failures in range(1, len(delays) + 1)] == list(delays)
    assert {retry.delay(failures) for failures in range(1, retry.max_attempts)} <= set(delays)


def test_a_delay_beyond_every_number_is_the_longest() -> None:
    assert RetryConfig(max_attempts=1000, multiplier=100).delay(999) == 300


def test_a_delay_is_in_whole_milliseconds() -> None:
    assert RetryConfig(initial_delay=0.0014, multiplier=1).delay(1) == 0.001


def test_a_queue_config_is_a_queue_config_of_its_provider(load: Load) -> None:
    queue = load(queue_yaml()).queues[0]
    assert isinstance(queue, QueueConfig)
    assert type(queue).__module__ == "app.queue.providers.memory.config"
