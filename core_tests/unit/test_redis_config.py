"""The keys of a queue with `type: redis`, and the keys of the server that it needs."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest

from app.queue.errors import ConfigError
from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.providers.redis.config import RedisQueueConfig
from app.queue.providers.redis.streams import consumer_name, streams
from core_tests.tools import queues_file
from core_tests.tools.queues_file import Load

SECRET = "s3cret-hunter2"
queue_yaml = partial(queues_file.queue_yaml, provider="redis")


def redis(name: str = "q", **keys: Any) -> RedisQueueConfig:
    return RedisQueueConfig(name=name, type="redis", **keys)


def servers(**keys: Any) -> list[tuple[str, int, bool, str, str]]:
    return [
        (server.address, int(server.path), server.tls, server.username, server.password)
        for server in redis(**keys).servers()
    ]


# --- URLs


@pytest.mark.parametrize(
    ("given", "address", "database", "tls", "username", "password"),
    [
        ("host", "host:6379", 0, False, "", ""),
        (" host ", "host:6379", 0, False, "", ""),
        ("host:6380", "host:6380", 0, False, "", ""),
        ("host/3", "host:6379", 3, False, "", ""),
        ("[::1]", "::1:6379", 0, False, "", ""),
        ("[fe80::1]:6380", "fe80::1:6380", 0, False, "", ""),
        ("redis://host/", "host:6379", 0, False, "", ""),
        ("redis://host:1/12/", "host:1", 12, False, "", ""),
        ("rediss://host", "host:6379", 0, True, "", ""),
        ("bob:pw@host", "host:6379", 0, False, "bob", "pw"),
        ("redis://:pw@host", "host:6379", 0, False, "", "pw"),
        ("redis://b%40b:p%3A%2F%3F@host:1/2", "host:1", 2, False, "b@b", "p:/?"),
    ],
)
def test_a_url_of_any_shape_becomes_a_server(
    given: str, address: str, database: int, tls: bool, username: str, password: str
) -> None:
    assert servers(broker_url=given) == [(address, database, tls, username, password)]


def test_what_a_url_does_not_say_the_keys_do() -> None:
    keys: dict[str, Any] = {"port": 1234, "database": 7, "username": "b@b", "password": "p/w:%", "ssl": True}
    assert servers(broker_url=["a", "b:5/0", "ann:pw@c", ":pw@d"], **keys) == [
        ("a:1234", 7, True, "b@b", "p/w:%"),
        ("b:5", 0, True, "b@b", "p/w:%"),
        ("c:1234", 7, True, "ann", "pw"),
        ("d:1234", 7, True, "", "pw"),
    ]


def test_a_password_needs_no_user() -> None:
    assert servers(password="pw") == [("localhost:6379", 0, False, "", "pw")]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "it is empty"),
        ([], "the list is empty"),
        (["a", " "], "it is empty"),
        ("http://host", "begins with redis:// or rediss://"),
        ("unix://host", "begins with redis:// or rediss://"),
        ("$REDIS_HOST", "is written ${NAME}"),
        ("redis://", "not a host or URL"),
        ("host:port", "not a host or URL"),
        ("host:0", "not a host or URL"),
        ("host:65536", "not a host or URL"),
        ("::1", "not a host or URL"),
        ("a b", "not a host or URL"),
        ("a, b", "not a host or URL"),
        ("redis://host/name", "NUMBER of a database"),
        ("redis://host/1/2", "NUMBER of a database"),
        ("redis://host/\u0663", "NUMBER of a database"),
        ("redis://host?ssl_cert_reqs=none", "no options behind a '?'"),
        ("redis://bob:p/w@host", "%2F"),
        ("redis://bob:p#w@host", "not a host or URL"),
        ("redis://bob@host", "a URL has a user and a password, or neither"),
    ],
)
def test_what_is_no_host_and_no_url_is_refused_in_words(load: Load, url: str | list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(f"broker_url: {url!r}"))
    assert "queue 'my_queue': key 'broker_url': " in str(caught.value)
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "part"),
    [
        (["broker_url: redis://h", "ssl: true"], "ssl is true, but a broker_url begins with redis://; write rediss://"),
        (["broker_url: [h, rediss://h]", "ssl_context: {}"], "ssl_context is given, but the connection is not TLS"),
        (["ssl: true", "ssl_context: {cafile: /nowhere.pem}"], "key 'ssl_context.cafile': there is no such file"),
        (["username: bob"], "username is given without password"),
        (["database: -1"], "key 'database'"),
        (["ack_wait: 0"], "key 'ack_wait'"),
        (["broker_ur: h"], "key 'broker_ur': unknown key; did you mean 'broker_url'?"),
        (["virtual_host: /"], "key 'virtual_host': unknown key"),
        (["replicas: 1"], "key 'replicas': unknown key"),
    ],
)
def test_a_wrong_key_is_named(load: Load, lines: list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("context", [None, {"check_hostname": True}, {"check_hostname": False}])
def test_the_certificate_of_the_server_is_always_verified(context: dict[str, Any] | None) -> None:
    queue = redis(broker_url="rediss://h", ssl_context=context)
    tls = queue.tls(queue.servers()[0])
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname is (context or {}).get("check_hostname", True)


# --- secrets


@pytest.mark.parametrize(
    "lines",
    [
        [f"broker_url: redis://bob:{SECRET}@host?x=1"],
        [f"broker_url: http://bob:{SECRET}@host"],
        [f"broker_url: redis://{SECRET}@host"],
        [f"broker_url: redis://bob:{SECRET}@host", "ssl: true"],
        [f"broker_url: redis://bob:{SECRET}@host/x"],
        [f"password: [{SECRET}]"],
        [f"passwort: {SECRET}"],
    ],
)
def test_no_message_holds_a_password(load: Load, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert SECRET not in str(caught.value)


def test_a_config_and_its_servers_can_be_shown_without_their_secrets() -> None:
    queue = redis(broker_url=f"redis://bob:{SECRET}@host", username="ann", password=SECRET)
    assert SECRET not in f"{queue!r} {queue} {queue.servers()!r}"


# --- keys of the server


def test_every_place_of_a_queue_has_a_key_of_its_own() -> None:
    assert {undivided_name("a.b", place) for place in Place} == {
        "a.b",
        "retry_a.b_delayed",
        "quarantine_a.b",
        "retry_a.b_crashed",
        "dlq_a.b",
        "parked_a.b",
    }
    assert set(streams(redis("q"))) == {"q", "quarantine_q", "dlq_q", "parked_q"}
    assert set(streams(redis("q", enable_dlq=False))) == {"q", "quarantine_q"}


def test_no_two_consumers_have_one_name() -> None:
    assert len({consumer_name() for _ in range(100)}) == 100


def test_the_longer_ack_wait_is_the_later_may_a_message_of_a_lost_link_come_again() -> None:
    assert redis(ack_wait=40).redelivered_within - redis(ack_wait=10).redelivered_within == 2 * 30
