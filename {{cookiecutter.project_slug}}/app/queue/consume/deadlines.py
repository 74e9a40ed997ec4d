# The template's: an update changes it. Which files are yours: README.md.
"""How long a delivery may take, at a broker that takes back what is not settled in time, and gives it to others."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext

from app.queue.clock import now
from app.queue.consume.in_flight import Record
from app.queue.settings.queues import QueueConfig
from app.queue.time_limit import TimeLimit

logger = logging.getLogger(__name__)

RUN, ALL = 0.8, 0.9  # shares of the broker's time: for a handler, for its wait and run together. The rest is to settle
SPARE = 0.05  # the share that a delivery may have waited for something else before these begin


class Deadlines:
    """Those of one queue."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._settle_within: float | None = None
        self.run = TimeLimit(config.handler_timeout)  # around an `async def` handler
        # Around the wait of a delivery for its turn. Raises TimeoutError when it can't be run in time any more.
        self.wait: AbstractContextManager[None] = nullcontext()
        self.hold: float | None = None  # seconds it may wait for something else, and is then given back; None: for ever

    def set(self, settle_within: float | None) -> None:
        """The broker takes back what is not settled within so many seconds, as far as is known."""
        if settle_within is None or settle_within == self._settle_within:
            return
        self._settle_within = settle_within
        self.hold = RUN * settle_within
        wanted = self._config.handler_timeout
        if wanted > self.hold:
            logger.warning(
                "%s: handler_timeout is %g s, but the broker takes back what is not settled within %g s, and gives it "
                "to others: so a handler is stopped after %g s already",
                *(self._config.name, wanted, settle_within, self.hold),
            )
        self.run = TimeLimit(min(wanted, self.hold))
        self.wait = TimeLimit(ALL * settle_within - min(wanted, self.hold))

    def can_begin(self, record: Record) -> bool:
        """True if it may still wait for its turn, and be run: so long after it came."""
        return self._settle_within is None or now() - record.since <= SPARE * self._settle_within

    def is_late(self, record: Record) -> bool:
        """True if what can't be settled should be given back, while that is still possible."""
        return self.hold is not None and now() - record.since > self.hold
