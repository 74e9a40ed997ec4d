"""The keys that every broker with an address has."""

from __future__ import annotations

import ssl
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from app.queue.errors import BrokerRefusedError
from app.queue.settings.broker import BrokerConfig, URLRules
from core_tests.tools.fake_broker import fake_config

SECRET = "s3cret-hunter2"


class PathConfig(BrokerConfig):
    """A broker whose URLs have a path, and may name a user alone."""

    url_rules: ClassVar[URLRules] = URLRules("deep", "deeps", 1, 2, path_key="room", user_alone=True)
    room: str = "hall"


def shown(config: BrokerConfig) -> list[tuple[str, bool, str, str, str]]:
    return [(server.address, server.tls, server.username, server.password, server.path) for server in config.servers()]


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("host", ("host:1000", False, "key", "word", "")),
        (" fake://host:5/ ", ("host:5", False, "key", "word", "")),
        ("fakes://host", ("host:2000", True, "key", "word", "")),
        ("fake://a%40b:p%2F%3Aw@[::1]:5", ("::1:5", False, "a@b", "p/:w", "")),
        ("fake://:pw@host", ("host:1000", False, "", "pw", "")),
    ],
)
def test_a_url_counts_more_than_the_keys_and_a_password_is_for_its_user(url: str, server: tuple[Any, ...]) -> None:
    assert shown(fake_config(broker_url=url, username="key", password="word")) == [server]


def test_a_user_that_is_a_key_is_taken_as_it_is() -> None:
    (server,) = fake_config(broker_url="host", username="svc%41x", password="p%41").servers()
    assert (server.username, server.password) == ("svc%41x", "p%41")


def test_a_path_is_what_the_key_says_where_the_url_says_nothing() -> None:
    config = PathConfig(name="q", type="deep", broker_url=["a", "b/", "c/x%2Fy", "ann@d"], username="u", password="p")
    assert [(server.username, server.password, server.path) for server in config.servers()] == [
        ("u", "p", "hall"),
        ("u", "p", "hall"),
        ("u", "p", "x/y"),
        ("ann", "p", "hall"),
    ]


@pytest.mark.parametrize(
    ("keys", "part"),
    [
        ({"broker_url": []}, "the list is empty"),
        ({"broker_url": ["a", " "]}, "it is empty; give a host, or fake://user:password@host:port"),
        ({"broker_url": "http://a"}, "begins with fake:// or fakes://"),
        ({"broker_url": f"fake://bob:${SECRET}@a"}, "is written ${NAME}"),
        ({"broker_url": f"fake://bob:{SECRET}@a?verify=no"}, "no options behind a '?'"),
        ({"broker_url": f"fake://bob:{SECRET}/@a"}, "not a host or URL"),
        ({"broker_url": "a:0"}, "not a host or URL"),
        ({"broker_url": "[::1"}, "not a host or URL"),
        ({"broker_url": "a/room"}, "nothing behind the port"),
        ({"broker_url": f"fake://{SECRET}@a"}, "a user and a password, or neither"),
        ({"username": "bob"}, "username is given without password"),
        ({"broker_url": "fake://a", "ssl": True}, "write fakes://"),
        ({"ssl_context": {}}, "the connection is not TLS"),
    ],
)
def test_what_does_not_fit_is_refused_in_words_without_secrets(keys: dict[str, Any], part: str) -> None:
    with pytest.raises(ValidationError) as caught:
        fake_config(**keys)
    (problem,) = caught.value.errors(include_input=False)
    assert part in problem["msg"]
    assert SECRET not in problem["msg"]


def test_secrets_are_not_shown_and_tell_brokers_apart() -> None:
    one, other = fake_config(broker_url=f"fake://bob:{SECRET}@a"), fake_config(broker_url="fake://bob:other@a")
    assert SECRET not in f"{one!r} {one.servers()!r}"
    assert one.broker_key() != other.broker_key()
    assert one.broker_key() == fake_config(broker_url=f"fake://bob:{SECRET}@a", prefetch=50).broker_key()


def test_tls_is_always_verified_and_a_file_that_is_no_use_is_a_refusal(tmp_path: Any) -> None:
    plain, secure = fake_config(), fake_config(ssl=True)
    assert plain.tls(plain.servers()[0]) is None
    context = secure.tls(secure.servers()[0])
    assert context is not None
    assert context.verify_mode is ssl.CERT_REQUIRED
    cafile = tmp_path / "ca.pem"
    cafile.write_text("".join(f"{line}\n" for line in ("not", "a", "certificate")))
    with pytest.raises(ValidationError):
        fake_config(ssl=True, ssl_context={"cafile": cafile})
    broken = fake_config(ssl=True, ssl_context={})
    assert broken.ssl_context is not None
    object.__setattr__(broken.ssl_context, "cafile", cafile)  # it was good when the service started
    with pytest.raises(BrokerRefusedError, match="ssl_context: cafile holds no certificate"):
        broken.tls(broken.servers()[0])
