# The template's: an update changes it. Which files are yours: README.md.
"""The keys of a queue with `type: rabbitmq`."""

from __future__ import annotations

from typing import ClassVar, Literal
from urllib.parse import quote

from pydantic import Field, field_validator
from yarl import URL

from app.queue.settings.broker import BrokerConfig, Server, URLRules
from app.queue.settings.queues import RetryConfig

MAX_WAIT_QUEUES = 32


class RabbitMQQueueConfig(BrokerConfig):
    """One queue at RabbitMQ."""

    url_rules: ClassVar[URLRules] = URLRules("amqp", "amqps", 5672, 5671, path_key="virtual_host", user_alone=True)

    username: str = "guest"
    password: str = Field("guest", repr=False)
    virtual_host: str = "/"
    queue_type: Literal["quorum", "classic"] = "quorum"
    consumer_timeout: float = Field(1800.0, ge=0)
    """Seconds after which the broker takes back what is not acked, as it is configured; 0 if it never does."""
    declare: bool = True
    """False: queues are not made, only checked. `docs/rabbitmq.md` lists what must be there."""

    @property
    def redelivered_within(self) -> float:
        return super().redelivered_within + 3 * self.heartbeat

    @field_validator("retry")
    @classmethod
    def _few_wait_queues(cls, retry: RetryConfig) -> RetryConfig:
        if (count := len(retry.delays())) > MAX_WAIT_QUEUES:
            raise ValueError(
                f"these values make {count} different delays, and RabbitMQ needs a queue for each; at most "
                f"{MAX_WAIT_QUEUES} are possible: lower max_attempts or max_delay, or raise multiplier"
            )
        return retry

    def url(self, server: Server) -> URL:
        """A server as a whole URL, credentials and heartbeat included."""
        host = f"[{server.host}]" if ":" in server.host else server.host
        userinfo = f"{quote(server.username, safe='')}:{quote(server.password, safe='')}"
        scheme = "amqps" if server.tls else "amqp"
        path = quote(server.path, safe="")
        return URL(f"{scheme}://{userinfo}@{host}:{server.port}/{path}?heartbeat={self.heartbeat}", encoded=True)
