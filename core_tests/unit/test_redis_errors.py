"""What Redis says, in our words: of every version, in a script and outside of one."""

from __future__ import annotations

import pytest
import redis.exceptions as redis

from app.queue.errors import (
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    PublisherBlockedError,
    PublishError,
)
from app.queue.providers.redis.errors import broker_error, code, publish_error, said

SHA = "a" * 40
IN_6 = f"Error running script (call to f_{SHA}): @user_script:9: @user_script: 9: -"
IN_7 = f" script: {SHA}, on @user_script:9."
IN_VALKEY_9 = " script: on @user_script:9."


@pytest.mark.parametrize(
    ("error", "expected", "kind"),
    [
        (redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "OOM", BrokerUnavailableError),
        (redis.ResponseError(f"{IN_6}OOM command not allowed."), "OOM", BrokerUnavailableError),
        (redis.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "MISCONF", BrokerUnavailableError),
        (redis.ResponseError("NOREPLICAS Not enough good replicas"), "NOREPLICAS", BrokerUnavailableError),
        (redis.ReadOnlyError("You can't write against a read only replica."), "READONLY", BrokerUnavailableError),
        (redis.ResponseError(f"{IN_6}READONLY You can't write."), "READONLY", BrokerUnavailableError),
        (redis.ResponseError("UNBLOCKED instance state changed"), "READONLY", BrokerUnavailableError),
        (redis.ResponseError("BUSY Redis is busy running a script."), "BUSY", BrokerUnavailableError),
        (redis.ResponseError(f"NOGROUP No such key 'OOM' or consumer group{IN_7}"), "NOGROUP", BrokerUnavailableError),
        (redis.ResponseError("UNBLOCKED the stream key no longer exists"), "UNBLOCKED", BrokerUnavailableError),
        (redis.ResponseError("WRONGTYPE Operation against a key"), "WRONGTYPE", BrokerRefusedError),
        (
            redis.NoPermissionError("this user has no permissions to run the 'xadd' command"),
            "NOPERM",
            BrokerRefusedError,
        ),
        (redis.ResponseError("The user executing the script can't run this command"), "NOPERM", BrokerRefusedError),
        (redis.ResponseError("ACL failure in script: User bob has no permissions"), "NOPERM", BrokerRefusedError),
        (redis.ResponseError("unknown command"), "", BrokerRefusedError),
    ],
)
def test_an_answer_is_of_the_kind_that_tells_what_to_do(
    error: Exception, expected: str, kind: type[BrokerError]
) -> None:
    assert code(error) == expected
    assert type(broker_error(error, "stream 'q'")) is kind
    assert str(broker_error(error, "stream 'q'")).startswith("stream 'q': ")
    blocked = PublisherBlockedError if expected in ("OOM", "MISCONF", "NOREPLICAS") else PublishError
    refused = publish_error(error, "stream 'q'")
    assert type(refused) is blocked
    assert not refused.may_have_landed


@pytest.mark.parametrize("text", [f"{IN_6}it is full", f"it is full.{IN_7}", f"it is full{IN_VALKEY_9}", "it is full"])
def test_the_name_of_a_script_is_of_use_to_nobody(text: str) -> None:
    assert said(redis.ResponseError(text)) == "it is full"


def test_an_error_without_words_has_its_name() -> None:
    assert said(redis.ResponseError("")) == "ResponseError"
