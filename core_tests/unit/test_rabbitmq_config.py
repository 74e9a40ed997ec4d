"""The keys of a queue with `type: rabbitmq`."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest
from pydantic import ValidationError
from yarl import URL

from app.queue.errors import ConfigError
from app.queue.providers.rabbitmq.config import RabbitMQQueueConfig
from app.queue.settings.broker import SSLContextConfig
from core_tests.tools import queues_file
from core_tests.tools.queues_file import Load

SECRET = "s3cret-hunter2"
queue_yaml = partial(queues_file.queue_yaml, provider="rabbitmq")


def rabbitmq(**keys: Any) -> RabbitMQQueueConfig:
    return RabbitMQQueueConfig(name="q", type="rabbitmq", **keys)


def whole_urls(queue: RabbitMQQueueConfig) -> list[URL]:
    return [queue.url(server) for server in queue.servers()]


def contexts(queue: RabbitMQQueueConfig) -> list[ssl.SSLContext | None]:
    return [queue.tls(server) for server in queue.servers()]


def urls(**keys: Any) -> list[str]:
    return [str(url).removesuffix("?heartbeat=10") for url in whole_urls(rabbitmq(**keys))]


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
    assert [str(url) for url in whole_urls(queue)] == ["amqps://guest:guest@localhost:5671/%2F?heartbeat=600"]
    assert contexts(queue)[0] is not None
    assert queue.enable_consumer
    assert queue.enable_publisher


def test_a_queue_needs_no_key_but_its_name_and_type() -> None:
    queue = rabbitmq()
    assert [str(url) for url in whole_urls(queue)] == ["amqp://guest:guest@localhost:5672/%2F?heartbeat=10"]
    assert queue.queue_type == "quorum"
    assert queue.declare
    assert contexts(queue) == [None]


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
    (url,) = whole_urls(rabbitmq(broker_url="amqp://b%40b:p%40ss%2Fw%3Ard%25@host/a%2Fb"))
    assert (url.user, url.password, url.host, url.path) == ("b@b", "p@ss/w:rd%", "host", "/a/b")


def test_a_list_names_the_nodes_of_a_cluster() -> None:
    assert urls(broker_url=["a", "b:5673", "amqp://bob:pw@c"], port=1234) == [
        "amqp://guest:guest@a:1234/%2F",
        "amqp://guest:guest@b:5673/%2F",
        "amqp://bob:pw@c:1234/%2F",
    ]


def test_the_heartbeat_is_in_every_url() -> None:
    queue = rabbitmq(broker_url=["a", "amqp://b/v"], heartbeat=7)
    assert [url.query["heartbeat"] for url in whole_urls(queue)] == ["7"] * 2


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
    assert [url.scheme for url in whole_urls(queue)] == schemes
    assert [context is not None for context in contexts(queue)] == [scheme == "amqps" for scheme in schemes]


@pytest.mark.parametrize("context", [None, {}, {"check_hostname": True}, {"check_hostname": False}])
def test_the_certificate_of_the_broker_is_always_verified(context: dict[str, Any] | None) -> None:
    (tls,) = contexts(rabbitmq(broker_url="amqps://h", ssl_context=context))
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname is (context or {}).get("check_hostname", True)
    assert tls.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("minimum", "ours"),
    [
        (ssl.TLSVersion.MINIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_2),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
        (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
    ],
)
def test_a_connection_has_tls_1_2_at_least_whatever_the_interpreter_begins_with(
    minimum: ssl.TLSVersion, ours: ssl.TLSVersion, monkeypatch: pytest.MonkeyPatch
) -> None:
    def context(cafile: str | None) -> ssl.SSLContext:
        made = ssl.create_default_context(cafile=cafile)
        made.minimum_version = minimum
        return made

    monkeypatch.setattr("app.queue.settings.broker.create_default_context", context)
    assert SSLContextConfig().context().minimum_version is ours


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
    assert queue.password == whole_urls(queue)[0].password == "p@ss: {w}/${OTHER} #1"


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


def test_queue_provider_of_the_same_type_changes_nothing(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUE_PROVIDER", "rabbitmq")
    assert load(OLDER).queues[0].model_dump()["heartbeat"] == 600


def test_the_longer_heartbeat_is_the_later_may_a_message_of_a_lost_link_come_again() -> None:
    assert rabbitmq(heartbeat=40).redelivered_within - rabbitmq(heartbeat=10).redelivered_within == 3 * 30
