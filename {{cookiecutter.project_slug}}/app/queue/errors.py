# The template's: an update changes it. Which files are yours: README.md.
"""What can go wrong between this service and a broker, in words that every provider shares."""

from __future__ import annotations


class QueueError(Exception):
    """Base of all errors that this package raises."""


class ConfigError(QueueError):
    """`queues.yaml`, the environment or a handler module is wrong: the message says what and where."""


class UnknownQueueError(QueueError):
    """No queue of that name is in `queues.yaml`."""


class PublisherDisabledError(QueueError):
    """The queue has `enable_publisher: false`."""


class BrokerError(QueueError):
    """The broker did not do what was asked. The message never holds a password."""


class BrokerUnavailableError(BrokerError):
    """The broker can't be reached or the link to it broke."""


class BrokerRefusedError(BrokerError):
    """The broker answered, and said no: credentials, virtual host, permissions, a queue that is not as needed.

    Trying again soon won't help, so it is tried again at a slower pace.
    """


class DeliveryLostError(BrokerUnavailableError):
    """The delivery's link is gone, so it can't be settled any more. The broker will deliver it once more."""


class AckLostError(BrokerUnavailableError):
    """A message is safe in its new place, but the link broke before it was acked in the old one.

    It will be delivered once more, and then needs nothing but its ack.
    """


class PublishError(BrokerError):
    """A message was not published, as far as can be known.

    Attributes:
        message_id: the message's id, for a client that tries again.
        may_have_landed: True if the broker may hold the message although it never confirmed it.
    """

    def __init__(self, text: str, *, message_id: str = "", may_have_landed: bool = False) -> None:
        super().__init__(text)
        self.message_id = message_id
        self.may_have_landed = may_have_landed


class CircuitOpenError(PublishError):
    """Not even tried: the last publishes failed. `retry_after` is in seconds."""

    def __init__(self, text: str, *, message_id: str = "", retry_after: float = 1.0) -> None:
        super().__init__(text, message_id=message_id)
        self.retry_after = retry_after


class PublisherBlockedError(PublishError):
    """The broker accepts no messages for now (out of memory or disk)."""


class UnroutableError(PublishError):
    """The queue doesn't exist at the broker, so the message went nowhere."""


class MessageTooLargeError(PublishError):
    """The body is longer than the queue's `max_message_bytes`. Nothing was sent."""
