"""`queues.yaml` for any provider: what loads, and from which file."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.queue.config import QueueConfig, RetryConfig, load_queues
from app.queue.errors import ConfigError
from app.queue.providers import find_provider
from core_tests.tools.queues_file import Load, queue_yaml

ONE_QUEUE = "queues: [{name: my_queue, type: memory}]"


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
            "held: {messages: 10, bytes: 5000}",
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
                "held": {"messages": 10, "bytes": 5000},
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


def test_an_empty_queue_provider_is_none(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "")
    assert load(queue_yaml()).queues[0].type == "memory"


def test_a_queue_provider_that_is_not_there_names_the_variable(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "kafka")
    with pytest.raises(ConfigError, match=r"environment variable QUEUE_PROVIDER: .*memory"):
        load(queue_yaml())


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
    assert type(queue) is find_provider("memory").config
