"""The keys of a queue with `type: rabbitmq`, and the queues that they need at the broker."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from app.queue.config import QueuesConfig, load_queues
from app.queue.errors import ConfigError
from app.queue.names import dlq_name, parked_name, suspects_name
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.providers.rabbitmq.topology import publishing_spec, queue_specs

Load = Callable[[str], QueuesConfig]
SECRET = "s3cret-hunter2"


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def write_and_load(text: str) -> QueuesConfig:
        file = tmp_path / "queues.yaml"
        file.write_text(text)
        return load_queues(file)

    return write_and_load


def rabbitmq(**keys: Any) -> RabbitMQQueueConfig:
    return RabbitMQQueueConfig(name="q", type="rabbitmq", **keys)


def urls(**keys: Any) -> list[str]:
    return [str(url).removesuffix("?heartbeat=10") for url in rabbitmq(**keys).urls()]


def queue_yaml(*lines: str) -> str:
    return "\n    ".join(["queues:\n  - name: my_queue", "type: rabbitmq", *lines]) + "\n"


OLDER = """\
queues:
  - name: my_queue
    type: rabbitmq
    broker_url: "localhost"        # a host, a whole URL, or a list of them
    port: 5671
    ssl: true
    ssl_context: null              # or a mapping: cafile, certfile, keyfile, check_hostname
    heartbeat: 600
    enable_consumer: true
    enable_publisher: true
"""


def test_the_file_of_older_users_loads_unchanged(load: Load) -> None:
    (queue,) = load(OLDER).queues
    assert isinstance(queue, RabbitMQQueueConfig)
    assert [str(url) for url in queue.urls()] == ["amqps://guest:guest@localhost:5671/%2F?heartbeat=600"]
    assert queue.tls() is not None
    assert queue.enable_consumer
    assert queue.enable_publisher


def test_a_queue_needs_no_key_but_its_name_and_type() -> None:
    queue = rabbitmq()
    assert [str(url) for url in queue.urls()] == ["amqp://guest:guest@localhost:5672/%2F?heartbeat=10"]
    assert queue.queue_type == "quorum"
    assert queue.declare
    assert queue.tls() is None


# --- URLs


@pytest.mark.parametrize(
    ("given", "whole"),
    [
        ("host", "amqp://guest:guest@host:5672/%2F"),
        (" host ", "amqp://guest:guest@host:5672/%2F"),
        ("host:5673", "amqp://guest:guest@host:5673/%2F"),
        ("my_rabbit-1.example.com", "amqp://guest:guest@my_rabbit-1.example.com:5672/%2F"),
        ("127.0.0.1", "amqp://guest:guest@127.0.0.1:5672/%2F"),
        ("[::1]", "amqp://guest:guest@[::1]:5672/%2F"),
        ("[fe80::1]:5673", "amqp://guest:guest@[fe80::1]:5673/%2F"),
        ("host/orders", "amqp://guest:guest@host:5672/orders"),
        ("bob:pw@host", "amqp://bob:pw@host:5672/%2F"),
        ("amqp://host", "amqp://guest:guest@host:5672/%2F"),
        ("amqp://host/", "amqp://guest:guest@host:5672/%2F"),
        ("amqp://host:5673/orders", "amqp://guest:guest@host:5673/orders"),
        ("amqp://host/%2F", "amqp://guest:guest@host:5672/%2F"),
        ("amqp://host/a%2Fb", "amqp://guest:guest@host:5672/a%2Fb"),
        ("amqp://bob@host", "amqp://bob:guest@host:5672/%2F"),
        ("amqp://bob:@host", "amqp://bob:@host:5672/%2F"),
        ("amqp://bob:p%40ss%2Fw%3Ard@host", "amqp://bob:p%40ss%2Fw%3Ard@host:5672/%2F"),
        ("amqp://b%40b:pw@[::1]:5673/v", "amqp://b%40b:pw@[::1]:5673/v"),
        ("amqps://host", "amqps://guest:guest@host:5671/%2F"),
        ("amqps://host:443/v", "amqps://guest:guest@host:443/v"),
    ],
)
def test_a_url_of_any_shape_becomes_a_whole_one(given: str, whole: str) -> None:
    assert urls(broker_url=given) == [whole]


def test_what_a_url_does_not_say_the_keys_do() -> None:
    keys: dict[str, Any] = {"port": 1234, "username": "b@b", "password": "p/w:%", "virtual_host": "a/b"}
    assert urls(broker_url="host", **keys) == ["amqp://b%40b:p%2Fw%3A%25@host:1234/a%2Fb"]


def test_what_a_url_says_counts_more_than_the_keys() -> None:
    keys: dict[str, Any] = {"port": 1234, "username": "b", "password": "p", "virtual_host": "v"}
    assert urls(broker_url="amqp://ann:pw@host:5673/w", **keys) == ["amqp://ann:pw@host:5673/w"]


def test_credentials_are_what_was_meant_when_the_client_decodes_them() -> None:
    (url,) = rabbitmq(broker_url="amqp://b%40b:p%40ss%2Fw%3Ard%25@host/a%2Fb").urls()
    assert (url.user, url.password, url.host, url.path) == ("b@b", "p@ss/w:rd%", "host", "/a/b")


def test_a_list_names_the_nodes_of_a_cluster() -> None:
    assert urls(broker_url=["a", "b:5673", "amqp://bob:pw@c"], port=1234) == [
        "amqp://guest:guest@a:1234/%2F",
        "amqp://guest:guest@b:5673/%2F",
        "amqp://bob:pw@c:1234/%2F",
    ]


def test_the_heartbeat_is_in_every_url() -> None:
    assert [url.query["heartbeat"] for url in rabbitmq(broker_url=["a", "amqp://b/v"], heartbeat=7).urls()] == ["7"] * 2


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ([], "the list is empty"),
        (["a", ""], "it is empty"),
        ("http://host", "begins with amqp:// or amqps://"),
        ("://host", "begins with amqp:// or amqps://"),
        ("amqp://host?heartbeat=5", "no options behind a '?'"),
        ("amqps://host/v?no_verify_ssl=1", "no options behind a '?'"),
        ("host?x", "no options behind a '?'"),
        ("$RABBITMQ_HOST", "is written ${NAME}"),
        ("amqp://me:$PASSWORD@host", "is written ${NAME}"),
        (["a", "amqp://b?x=1"], "no options behind a '?'"),
        ("amqp://", "not a host or URL"),
        ("amqp:///v", "not a host or URL"),
        ("amqp://bob:pw@", "not a host or URL"),
        (":5672", "not a host or URL"),
        ("host:port", "not a host or URL"),
        ("host:0", "not a host or URL"),
        ("host:65536", "not a host or URL"),
        ("host:-1", "not a host or URL"),
        ("::1", "not a host or URL"),
        ("[::1", "not a host or URL"),
        ("a b", "not a host or URL"),
        ("a, b", "not a host or URL"),
        ("amqp://bob:p/w@host", "%2F"),
        ("amqp://bob:12/34@host", "%2F"),
        ("amqp://bob:p#w@host", "not a host or URL"),
        ("amqp://bob:12#34@host", "not a host or URL"),
        ("amqp://bo#b:pw@host", "not a host or URL"),
    ],
)
def test_what_is_no_host_and_no_url_is_refused_in_words(load: Load, url: str | list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(f"broker_url: {url!r}"))
    assert "queue 'my_queue': key 'broker_url': " in str(caught.value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


# --- TLS


@pytest.mark.parametrize(
    ("keys", "schemes"),
    [
        ({"broker_url": "h"}, ["amqp"]),
        ({"broker_url": "h", "ssl": True}, ["amqps"]),
        ({"broker_url": "amqps://h"}, ["amqps"]),
        ({"broker_url": "amqps://h", "ssl": True}, ["amqps"]),
        ({"broker_url": ["a", "amqps://b"], "ssl": True, "ssl_context": {}}, ["amqps", "amqps"]),
        ({"broker_url": "amqps://h", "ssl_context": {"check_hostname": False}}, ["amqps"]),
        ({"broker_url": ["a", "amqps://b"]}, ["amqp", "amqps"]),
    ],
)
def test_a_connection_is_tls_by_the_key_ssl_or_by_its_url(keys: dict[str, Any], schemes: list[str]) -> None:
    queue = rabbitmq(**keys)
    assert [url.scheme for url in queue.urls()] == schemes
    assert (queue.tls() is not None) == ("amqps" in schemes)


@pytest.mark.parametrize("context", [None, {}, {"check_hostname": True}, {"check_hostname": False}])
def test_the_certificate_of_the_broker_is_always_verified(context: dict[str, Any] | None) -> None:
    tls = rabbitmq(broker_url="amqps://h", ssl_context=context).tls()
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname is (context or {}).get("check_hostname", True)
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["broker_url: amqp://h", "ssl: true"], "ssl is true, but a broker_url begins with amqp://; write amqps://"),
        (["broker_url: [h, amqp://h]", "ssl: true"], "ssl is true, but a broker_url begins with amqp://"),
        (["broker_url: h", "ssl_context: {}"], "ssl_context is given, but the connection is not TLS"),
        (["broker_url: [h, amqps://h]", "ssl_context: {}"], "ssl_context is given, but the connection is not TLS"),
        (["ssl: true", "ssl_context: {cafile: /nowhere.pem}"], "key 'ssl_context.cafile': there is no such file"),
        (["ssl: true", "ssl_context: {certfile: /nowhere.pem}"], "key 'ssl_context.certfile': there is no such file"),
        (["ssl: true", "ssl_context: {keyfile: /}"], "key 'ssl_context.keyfile': there is no such file"),
        (
            ["ssl: true", "ssl_context: {cafil: /nowhere.pem}"],
            "key 'ssl_context.cafil': unknown key; did you mean 'cafile'?",
        ),
        (
            ["ssl: true", "ssl_context: {zzz: 1}"],
            "key 'ssl_context.zzz': unknown key; known are: cafile, certfile, check_hostname, keyfile",
        ),
        (["ssl: true", "ssl_context: true"], "key 'ssl_context'"),
        (
            ["ssl: true", f"ssl_context: {{cafile: {__file__!r}}}"],
            "key 'ssl_context': cafile holds no certificate in PEM",
        ),
        (
            ["ssl: true", f"ssl_context: {{certfile: {__file__!r}}}"],
            "certfile and keyfile are no certificate and its key",
        ),
    ],
)
def test_what_does_not_fit_together_about_tls_is_refused_in_words(load: Load, lines: list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert part in str(caught.value)
    assert str(caught.value).count("my_queue") == 1
    assert "\n" not in str(caught.value)


# --- the other keys


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("heartbeat: 0", "key 'heartbeat'"),
        ("heartbeat: 3601", "key 'heartbeat'"),
        ("port: 0", "key 'port'"),
        ("port: 65536", "key 'port'"),
        ("queue_type: lazy", "key 'queue_type': Input should be 'quorum' or 'classic'"),
        ("declare: perhaps", "key 'declare'"),
        ("broker_ur: h", "key 'broker_ur': unknown key; did you mean 'broker_url'?"),
        ("password: 12345", "key 'password'"),
        ("broker_url: 5672", "key 'broker_url"),
        ("broker_url: {host: h}", "key 'broker_url"),
    ],
)
def test_a_wrong_key_of_the_broker_is_named(load: Load, line: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(line))
    assert f"queue 'my_queue': {part}" in str(caught.value).replace(": \n  ", ": ", 1)


def test_secrets_come_from_the_environment_whatever_is_in_them(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "p@ss: {w}/${OTHER} #1")
    (queue,) = load(queue_yaml("password: ${MY_PASSWORD}")).queues
    assert isinstance(queue, RabbitMQQueueConfig)
    assert queue.password == queue.urls()[0].password == "p@ss: {w}/${OTHER} #1"


def test_a_broker_url_from_an_empty_variable_is_an_error(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_URL", "")
    with pytest.raises(ConfigError, match="key 'broker_url': it is empty"):
        load(queue_yaml("broker_url: ${MY_URL}"))
    monkeypatch.setenv("MY_URL", "amqp://bob:pw@host/v")
    assert load(queue_yaml("broker_url: ${MY_URL}")).queues[0].model_dump()["broker_url"] == "amqp://bob:pw@host/v"


# --- secrets


@pytest.mark.parametrize(
    "lines",
    [
        [f"broker_url: amqp://bob:{SECRET}@host?x=1"],
        [f"broker_url: http://bob:{SECRET}@host"],
        [f"broker_url: amqp://bob:{SECRET}/x@host"],
        [f"broker_url: amqp://bob:{SECRET}@host:port"],
        [f"broker_url: amqp://bob:{SECRET}@host", "ssl: true"],
        [f"broker_url: amqp://bob:{SECRET}@host", "ssl_context: {}"],
        [f"broker_url: {{password: {SECRET}}}"],
        [f"password: [{SECRET}]"],
        [f"password: {SECRET}", "prefetch: 0"],
        [f"port: {SECRET}"],
        [f"heartbeat: {SECRET}"],
        [f"queue_type: {SECRET}"],
        [f"ssl_context: {SECRET}"],
        [f"passwort: {SECRET}"],
    ],
)
def test_no_message_holds_a_password(load: Load, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_config_can_be_shown_without_its_secrets() -> None:
    queue = rabbitmq(broker_url=f"amqp://bob:{SECRET}@host", password=SECRET)
    assert SECRET not in f"{queue!r} {queue}"


def test_a_config_does_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        rabbitmq().password = SECRET  # type: ignore[misc]


# --- QUEUE_PROVIDER=memory


def test_queue_provider_memory_ignores_the_keys_of_the_broker_and_their_missing_variables(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    (queue,) = load(
        queue_yaml(
            "broker_url: ${QUEUE_TEST_UNSET}",
            "password: ${QUEUE_TEST_UNSET}",
            "ssl_context: {cafile: /nowhere.pem}",
            "prefetch: 7",
            "retry: {max_attempts: 2}",
        )
    ).queues
    assert (queue.name, queue.type, queue.prefetch, queue.retry.max_attempts) == ("my_queue", "memory", 7, 2)
    assert not isinstance(queue, RabbitMQQueueConfig)


@pytest.mark.parametrize(
    "lines",
    [
        ["prefetc: 2"],
        ["prefetc: 2", "port: ${QUEUE_TEST_UNSET}"],
        ["prefetc: 2", "broker_url: ${QUEUE_TEST_UNSET:-amqp://localhost}"],
    ],
)
def test_queue_provider_memory_refuses_unknown_keys_all_the_same_and_complains_of_nothing_else(
    load: Load, monkeypatch: pytest.MonkeyPatch, lines: list[str]
) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert str(caught.value).endswith("queue 'my_queue': key 'prefetc': unknown key; did you mean 'prefetch'?")


def test_queue_provider_memory_checks_the_keys_that_it_uses(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "memory")
    with pytest.raises(ConfigError, match="queue 'my_queue': key 'prefetch'"):
        load(queue_yaml("prefetch: lots"))
    with pytest.raises(ConfigError, match="key 'prefetch': environment variable QUEUE_TEST_UNSET is not set"):
        load(queue_yaml("prefetch: ${QUEUE_TEST_UNSET}"))


def test_queue_provider_of_the_same_type_changes_nothing(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "rabbitmq")
    assert load(OLDER).queues[0].model_dump()["heartbeat"] == 600


# --- the queues at the broker


def test_a_queue_has_a_dlq_a_parking_queue_and_a_wait_queue_for_every_delay() -> None:
    specs = list(queue_specs(rabbitmq(retry={"max_attempts": 4, "initial_delay": 0.5})))
    waits = ["retry_q_500", "retry_q_1000", "retry_q_2000"]
    assert [spec.name for spec in specs] == ["q", "retry_q_crashed", "dlq_q", "parked_q", *waits]
    assert [spec.arguments["x-message-ttl"] for spec in specs[4:]] == [500, 1000, 2000]


def test_a_queue_without_dlq_has_neither_a_dlq_nor_a_parking_queue() -> None:
    names = [spec.name for spec in queue_specs(rabbitmq(enable_dlq=False, retry={"max_attempts": 1}))]
    assert names == ["q", "retry_q_crashed", "retry_q_1000"]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_the_arguments_of_what_keeps_messages_depend_on_the_queue_type_alone(queue_type: str) -> None:
    one = rabbitmq(queue_type=queue_type)
    other = rabbitmq(queue_type=queue_type, prefetch=1, max_message_bytes=5, retry={"max_attempts": 2}, heartbeat=99)
    kept = {spec.name: spec.arguments for spec in queue_specs(one) if spec.adaptable}
    assert kept.keys() == {"q", dlq_name("q"), parked_name("q"), suspects_name("q")}
    assert {spec.name: spec.arguments for spec in queue_specs(other) if spec.name in kept} == kept
    assert {arguments["x-queue-type"] for arguments in kept.values()} == {queue_type}
    assert publishing_spec(one, "q").arguments == kept["q"]


def test_no_delivery_limit_can_lose_a_message_of_a_quorum_queue() -> None:
    kept = [spec for spec in queue_specs(rabbitmq()) if spec.adaptable]
    assert len(kept) == 4
    assert all(spec.arguments["x-delivery-limit"] >= 1_000_000 for spec in kept)


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_a_wait_queue_hands_its_messages_back_safely_whatever_the_queue_type(queue_type: str) -> None:
    waits = [spec for spec in queue_specs(rabbitmq(queue_type=queue_type)) if not spec.adaptable]
    assert len(waits) == 4
    for spec in waits:
        assert (
            spec.arguments.items()
            >= {
                "x-queue-type": "quorum",
                "x-dead-letter-exchange": "",
                "x-dead-letter-routing-key": "q",
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }.items()
        )
        assert "x-expires" not in spec.arguments
        assert not spec.adaptable
