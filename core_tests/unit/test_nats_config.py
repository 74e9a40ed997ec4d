"""The keys of a queue with `type: nats`, and the streams that they need."""

from __future__ import annotations

import ssl
from functools import partial
from typing import Any

import pytest

from app.queue.errors import ConfigError
from app.queue.interfaces import Place
from app.queue.messages.message import undivided_name
from app.queue.providers.nats.config import NatsQueueConfig, stream_name
from app.queue.providers.nats.streams import consumer_config, stream_config, subjects
from core_tests.tools import queues_file
from core_tests.tools.queues_file import Load

SECRET = "s3cret-hunter2"
queue_yaml = partial(queues_file.queue_yaml, provider="nats")


def nats(name: str = "q", **keys: Any) -> NatsQueueConfig:
    return NatsQueueConfig(name=name, type="nats", **keys)


def servers(**keys: Any) -> list[tuple[str, str, str]]:
    queue = nats(**keys)
    return [(queue.url(server), server.username, server.password) for server in queue.servers()]


# --- URLs


@pytest.mark.parametrize(
    ("given", "url", "username", "password"),
    [
        ("host", "nats://host:4222", "", ""),
        (" host ", "nats://host:4222", "", ""),
        ("host:4223", "nats://host:4223", "", ""),
        ("[::1]", "nats://[::1]:4222", "", ""),
        ("[fe80::1]:4223", "nats://[fe80::1]:4223", "", ""),
        ("nats://host/", "nats://host:4222", "", ""),
        ("tls://host", "tls://host:4222", "", ""),
        ("bob:pw@host", "nats://host:4222", "bob", "pw"),
        ("nats://b%40b:p%3A%2F%3F@host:1", "nats://host:1", "b@b", "p:/?"),
    ],
)
def test_a_url_of_any_shape_becomes_a_server(given: str, url: str, username: str, password: str) -> None:
    assert servers(broker_url=given) == [(url, username, password)]


def test_what_a_url_does_not_say_the_keys_do() -> None:
    keys: dict[str, Any] = {"port": 1234, "username": "b@b", "password": "p/w:%", "ssl": True}
    assert servers(broker_url=["a", "b:5", "ann:pw@c"], **keys) == [
        ("tls://a:1234", "b@b", "p/w:%"),
        ("tls://b:5", "b@b", "p/w:%"),
        ("tls://c:1234", "ann", "pw"),
    ]


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("", "it is empty"),
        ([], "the list is empty"),
        (["a", " "], "it is empty"),
        ("http://host", "begins with nats:// or tls://"),
        ("ws://host", "begins with nats:// or tls://"),
        ("$NATS_HOST", "is written ${NAME}"),
        ("nats://", "not a host or URL"),
        ("host:port", "not a host or URL"),
        ("host:0", "not a host or URL"),
        ("host:65536", "not a host or URL"),
        ("::1", "not a host or URL"),
        ("a b", "not a host or URL"),
        ("a, b", "not a host or URL"),
        ("nats://host/path", "not a host or URL"),
        ("nats://host?x=1", "no options behind a '?'"),
        ("nats://bob:p/w@host", "%2F"),
        ("nats://bob:p#w@host", "not a host or URL"),
        ("nats://bob@host", "a user and a password, or neither"),
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
        (["broker_url: nats://h", "ssl: true"], "ssl is true, but a broker_url begins with nats://; write tls://"),
        (["broker_url: [h, tls://h]", "ssl_context: {}"], "ssl_context is given, but the connection is not TLS"),
        (["ssl: true", "ssl_context: {cafile: /nowhere.pem}"], "key 'ssl_context.cafile': there is no such file"),
        (["username: bob"], "username is given without password"),
        (["password: pw"], "password is given without username"),
        (["replicas: 2"], "key 'replicas': Input should be 1, 3 or 5"),
        (["ack_wait: 0"], "key 'ack_wait'"),
        (["max_bytes: 0"], "key 'max_bytes'"),
        (["duplicate_window: 0"], "key 'duplicate_window'"),
        (["broker_ur: h"], "key 'broker_ur': unknown key; did you mean 'broker_url'?"),
        (["virtual_host: /"], "key 'virtual_host': unknown key"),
    ],
)
def test_a_wrong_key_is_named(load: Load, lines: list[str], part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert part in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.", "a..b"])
def test_a_name_that_is_no_subject_is_refused(load: Load, name: str) -> None:
    with pytest.raises(ConfigError, match="a name is a subject"):
        load(f"queues:\n  - name: {name}\n    type: nats\n")


@pytest.mark.parametrize("context", [None, {"check_hostname": True}, {"check_hostname": False}])
def test_the_certificate_of_the_server_is_always_verified(context: dict[str, Any] | None) -> None:
    queue = nats(broker_url="tls://h", ssl_context=context)
    tls = queue.tls(queue.servers()[0])
    assert tls is not None
    assert tls.verify_mode is ssl.CERT_REQUIRED
    assert tls.check_hostname is (context or {}).get("check_hostname", True)


# --- secrets


@pytest.mark.parametrize(
    "lines",
    [
        [f"broker_url: nats://bob:{SECRET}@host?x=1"],
        [f"broker_url: http://bob:{SECRET}@host"],
        [f"broker_url: nats://{SECRET}@host"],
        [f"broker_url: nats://bob:{SECRET}@host", "ssl: true"],
        [f"password: {SECRET}"],
        [f"password: [{SECRET}]"],
        [f"passwort: {SECRET}"],
    ],
)
def test_no_message_holds_a_password(load: Load, lines: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(queue_yaml(*lines))
    assert SECRET not in str(caught.value)


def test_a_config_and_its_servers_can_be_shown_without_their_secrets() -> None:
    queue = nats(broker_url=f"nats://bob:{SECRET}@host", username="ann", password=SECRET)
    assert SECRET not in f"{queue!r} {queue} {queue.servers()!r}"


# --- streams


def test_every_place_of_a_queue_has_a_stream_of_its_own() -> None:
    assert {undivided_name("a.b", place) for place in Place} == {
        "a.b",
        "retry_a.b_delayed",
        "quarantine_a.b",
        "retry_a.b_crashed",
        "dlq_a.b",
        "parked_a.b",
    }
    assert set(subjects(nats("q"))) == {"q", "retry_q_delayed", "quarantine_q", "dlq_q", "parked_q"}
    assert set(subjects(nats("q", enable_dlq=False))) == {"q", "retry_q_delayed", "quarantine_q"}


def test_a_stream_name_has_no_dots_and_no_two_queues_share_one() -> None:
    assert stream_name("a.b") == "a=b"
    assert len({stream_name(name) for name in ("a.b", "a_b", "a-b", "ab")}) == 4


def test_a_stream_forgets_nothing_that_was_not_acked() -> None:
    stream = stream_config(nats(replicas=3, max_bytes=1000), "q").as_dict()
    assert stream["retention"] == "workqueue"
    assert stream["storage"] == "file"
    assert stream["discard"] == "new"
    assert (stream["num_replicas"], stream["max_bytes"], stream["max_age"]) == (3, 1000, 0)
    assert stream_config(nats(), "q").as_dict()["max_bytes"] == -1


def test_a_consumer_gives_nothing_up_and_limits_nothing() -> None:
    consumer = consumer_config(nats(ack_wait=7)).as_dict()
    assert consumer["ack_policy"] == "explicit"
    assert consumer["ack_wait"] == 7_000_000_000
    assert (consumer["max_deliver"], consumer["max_ack_pending"]) == (-1, -1)


def test_the_longer_ack_wait_is_the_later_may_a_message_of_a_lost_link_come_again() -> None:
    assert nats(ack_wait=40).redelivered_within - nats(ack_wait=10).redelivered_within == 2 * 30
