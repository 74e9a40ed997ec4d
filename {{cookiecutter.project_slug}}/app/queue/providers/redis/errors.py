# The template's: an update changes it. Which files are yours: README.md.
"""What redis-py raises and Redis answers, in the words of `app.queue.errors`."""

from __future__ import annotations

import re

import redis.exceptions as redis

from app.queue.broker.errors import Translation
from app.queue.broker.tls import after_handshake, tls_error
from app.queue.errors import (
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    DeliveryLostError,
    PublisherBlockedError,
    PublishError,
)
from app.queue.settings.broker import Server

FULL = ("OOM", "MISCONF", "NOREPLICAS")
"""Redis' codes for: it takes nothing for now. It has no memory, can't write to its disk, or too few replicas."""
GONE = ("NOGROUP", "UNBLOCKED")
AWAY = ("READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "BUSY")
_STRIPPED: dict[type[Exception], str] = {
    redis.OutOfMemoryError: "OOM",
    redis.ReadOnlyError: "READONLY",
    redis.NoPermissionError: "NOPERM",
    redis.BusyLoadingError: "LOADING",
    redis.NoScriptError: "NOSCRIPT",
    redis.ClusterDownError: "CLUSTERDOWN",
    redis.MasterDownError: "MASTERDOWN",
    redis.AuthenticationError: "NOAUTH",
}
"""redis-py leaves the code out of the text of these."""
_CODE = re.compile(r"\b(?:OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|BUSY|NOPERM|NOGROUP|UNBLOCKED|WRONGTYPE)\b")
"""Not at the beginning alone: before 7.0, an error in a script begins with the script's name."""
_FORBIDDEN = re.compile("user executing the script can't run|ACL failure in script")
_IN_SCRIPT = re.compile(
    r"\s*script: (?:[0-9a-f]{40}, )?on @user_script.*"
    r"|Error running script \(call to f_[0-9a-f]{40}\): (?:@user_script: ?\d+: )*-?"
)


def code(error: Exception) -> str:
    """The word by which Redis names the error, or ""."""
    if (known := _STRIPPED.get(type(error))) is not None:
        return known
    if _FORBIDDEN.search(str(error)):
        return "NOPERM"
    if "instance state changed" in str(error):
        return "READONLY"  # what a read that waits is told when the server becomes a replica
    found = _CODE.search(str(error))
    return found[0] if found else ""


def said(error: BaseException) -> str:
    """The server's words, without what is of use to nobody."""
    text = _IN_SCRIPT.sub("", str(error)).strip().rstrip(".")
    return text or type(error).__name__


def broker_error(error: Exception, what: str) -> BrokerError:
    """An error that Redis answered, as it concerns a connection or what is asked over it."""
    why = code(error)
    if why in FULL:
        return BrokerUnavailableError(f"{what}: the server takes nothing for now: {said(error)}")
    if why in GONE:
        return BrokerUnavailableError(f"{what}: the stream, or its group, is not there any more: {said(error)}")
    if why in AWAY:
        return BrokerUnavailableError(f"{what}: {said(error)}")
    if why == "WRONGTYPE":
        return BrokerRefusedError(
            f"{what}: the key exists, and is of another type than this service needs; delete or rename it, or use "
            "another queue name or database"
        )
    if why == "NOPERM":
        return BrokerRefusedError(f"{what}: no permission: {said(error)}; docs/redis.md lists what a user needs")
    return BrokerRefusedError(f"{what}: {said(error)}")


def publish_error(error: Exception, what: str) -> PublishError:
    """An error that Redis answered to a message, which is stored nowhere."""
    if code(error) in FULL:
        return PublisherBlockedError(f"{what}: the server takes no messages: {said(error)}; nothing was stored")
    return PublishError(f"{broker_error(error, what)}; nothing was stored")


def settle_error(error: Exception, what: str) -> BrokerError:
    """For settling a delivery: where its group is gone, it is lost; where there is no room, it is held."""
    if code(error) in GONE:
        return DeliveryLostError(f"{what}: the delivery's stream, or its group, was deleted")
    return publish_error(error, what)


translated = Translation((redis.RedisError, broker_error))
settling = Translation((redis.RedisError, settle_error))


def connection_error(error: Exception, server: Server, *, met: bool) -> BrokerError:
    """The reason why a connection could not be made; `met`: the TLS handshake was done, as far as we could see."""
    where = f"Redis at {server.address}"
    if (of_tls := tls_error(error, where)) is not None:
        return of_tls
    if isinstance(error, redis.AuthenticationError):
        return BrokerRefusedError(f"{where}: {_of_credentials(error, server)}")
    if isinstance(error, redis.BusyLoadingError):
        return BrokerUnavailableError(f"{where}: it is still loading its data")
    if isinstance(error, redis.AuthenticationWrongNumberOfArgsError):
        return BrokerRefusedError(f"{where}: it knows no users; give a password without a username")
    if isinstance(error, redis.InvalidResponse | ValueError):
        return BrokerUnavailableError(f"{where}: what answers there is no Redis server")
    if isinstance(error, redis.ResponseError):
        return broker_error(error, where)
    cause = error.__cause__ or error.__context__ or error
    if met and isinstance(cause, ConnectionError | redis.ConnectionError):
        return after_handshake(where)
    if isinstance(error, redis.TimeoutError | TimeoutError):
        hint = "; does it speak TLS on this port?" if server.tls and not met else ""
        return BrokerUnavailableError(f"{where}: no answer in time{hint}")
    cut = not server.tls and re.search("while reading|while writing|closed by server", str(error))
    hint = "; does it speak TLS (ssl: true, or rediss://)?" if cut else ""
    return BrokerUnavailableError(f"{where}: {said(error)}{hint}")


def _of_credentials(error: Exception, server: Server) -> str:
    if "without any password configured" in str(error):
        return "it asks for no password, and one is given; leave it out, or is it another server?"
    if not server.password:
        return "a client without password is refused; give username and password"
    who = f"user {server.username!r}" if server.username else "the password"
    return f"{who} is refused; check username and password"
