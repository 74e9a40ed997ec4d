# The template's: an update changes it. Which files are yours: README.md.
"""What a stream and its consumer may be that somebody else has made: the tables, by the server's own names.

Times are in nanoseconds, as the server has them.
"""

from __future__ import annotations

from datetime import UTC, datetime

from app.queue.broker.existing import LOSES_NOTHING, Rule, one_of, unset
from app.queue.providers.nats.config import NatsQueueConfig

SECOND = 1_000_000_000
AT_A_TIME = 100  # messages that are asked for in one request, at most, if `prefetch` is less


def stream_rules(its_subject: str) -> dict[str, Rule]:
    """For the stream of one subject."""
    return {
        "retention": Rule("and not workqueue: what is acked would stay, or go too soon", one_of("workqueue")),
        "subjects": Rule(f"and not {its_subject!r}", lambda value, _: its_subject in (value or ())),
        "discard": Rule("and not new: a full stream would forget what is oldest", one_of("new")),
        "max_age": Rule("messages would expire"),
        "max_msgs_per_subject": Rule(
            "more than these would be forgotten",
            lambda value, found: unset(value, found) or bool(found.get("discard_new_per_subject")),
        ),
        "no_ack": Rule("nothing would be confirmed"),
        "storage": Rule("a restart of the server would lose all", one_of("file")),
        "persist_mode": Rule("what is confirmed may not be written yet", one_of(None, "", "default")),
        "sealed": Rule("it takes nothing, and gives nothing up"),
        "allow_rollup_hdrs": Rule("one message could delete all others"),
        "allow_msg_counter": Rule("it takes nothing but counts"),
        "mirror": Rule("it takes only what another stream has"),
        **dict.fromkeys(("num_replicas", "max_bytes", "max_msgs", "max_msg_size", "duplicate_window"), LOSES_NOTHING),
        **dict.fromkeys(("allow_msg_ttl", "subject_delete_marker_ttl", "allow_msg_schedules"), LOSES_NOTHING),
        **dict.fromkeys(("sources", "subject_transform", "republish"), LOSES_NOTHING),
    }


def consumer_rules(config: NatsQueueConfig, its_subject: str, *, holds_back: bool) -> dict[str, Rule]:
    """For its consumer. `holds_back`: it is that of the delayed, which are all in flight while they wait.

    Where nothing is said, the server says `max_ack_pending: 1000` and `max_waiting: 512`.
    """
    ack_wait, batch, now = config.ack_wait * SECOND, max(config.prefetch, AT_A_TIME), datetime.now(UTC).isoformat()
    return {
        "ack_policy": Rule("and not explicit: messages would be gone before they are handled", one_of("explicit")),
        "max_deliver": Rule("what came so often would never come again"),
        "ack_wait": Rule(f"and not {ack_wait:.0f}: others would get it, too", lambda value, _: value >= ack_wait),
        "backoff": Rule("in place of ack_wait: others would get it, too"),
        "deliver_policy": Rule("and not all: what was there before would never come", one_of("all")),
        "filter_subject": Rule("what has another subject would never come", one_of(None, "", its_subject)),
        "filter_subjects": Rule("what has another subject would never come", one_of(None, [], [its_subject])),
        "headers_only": Rule("no body would come"),
        "replay_policy": Rule("and not instant: messages would be late", one_of("instant")),
        "rate_limit_bps": Rule("messages would be late"),
        "pause_until": Rule("nothing comes before", lambda value, _: not value or str(value)[:19] < now),
        "deliver_subject": Rule("messages would go there, and to nobody who asks"),
        "priority_policy": Rule("nothing would come to who names no group", one_of(None, "", "none")),
        "max_batch": Rule("who asks for more gets none", lambda value, _: not value or value >= batch),
        "max_expires": Rule("who asks for longer gets none", lambda value, _: not value or value >= SECOND),
        "max_ack_pending": Rule("a retry beyond these would be late") if holds_back else LOSES_NOTHING,
        "inactive_threshold": Rule("the server deletes it, and when retries are due, if nobody asks so long"),
        "mem_storage": Rule("a restart of the server would delete it, and when retries are due"),
        "num_replicas": Rule(
            f"and not {config.replicas}: its server's loss would end it",
            lambda value, _: not value or value >= config.replicas,
        ),
    }
