"""What makes a figure of the benchmarks worth something: every message counted, errors void, ratios within a round."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest

from benchmarks.broker import Broker
from benchmarks.contenders import BASE
from benchmarks.instances import Run, said
from benchmarks.phases import Trial, check, check_published
from benchmarks.process import VoidError
from benchmarks.report import table
from benchmarks.results import Results
from benchmarks.settings import Settings
from benchmarks.workload import MARK, Tally, messages

SETTINGS = Settings("amqp://localhost/", "quorum", ("work",), 8)


class BrokerWith:
    """A broker with this many messages in every queue."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def wait_for_depth(self, _queue: str, _depth: int) -> int:
        return self.depth

    def left(self, queues: tuple[str, ...]) -> dict[str, int]:
        return {queue: self.depth for queue in queues if self.depth}


def trial(depth: int) -> Trial:
    return Trial("one", SETTINGS, SETTINGS, cast("Broker", BrokerWith(depth)))


def reported(output: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix(MARK)) for line in output.splitlines() if line.startswith(MARK)]


def test_settings_survive_the_environment() -> None:
    settings = Settings("amqp://localhost/", "classic", ("a", "b"), 5, size=9, rate=0.5, plain=True, project="/x y")
    assert Settings.from_env(settings.to_env()) == settings


def test_messages_have_the_size_that_was_asked_for_and_ids_of_their_own() -> None:
    made = list(messages(Settings("", "quorum", ("work",), 50, size=1000)))
    assert len({message.id for message in made}) == 50
    assert all(abs(len(message.model_dump_json()) - 1000) <= 10 for message in made)


def test_a_result_comes_when_the_last_message_has_been_handled_and_repeats_do_not_hide_a_loss(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tally = Tally(SETTINGS)
    *most, last = messages(SETTINGS)
    for message in [*most, *most]:
        tally.seen(message)
    assert reported(capsys.readouterr().out) == []
    tally.seen(last)
    [result] = reported(capsys.readouterr().out)
    assert result["calls"] == 15


def test_a_message_that_is_handled_twice_voids_the_figure() -> None:
    check(trial(0), SETTINGS, {"calls": 8})
    with pytest.raises(VoidError, match="8 messages handled in 9 calls"):
        check(trial(0), SETTINGS, {"calls": 9})


def test_a_message_that_is_not_acked_voids_the_figure() -> None:
    with pytest.raises(VoidError, match="3 messages in work were handled, but not acked"):
        check(trial(3), SETTINGS, {"calls": 8})


def test_a_message_that_did_not_arrive_voids_the_publishers_figure() -> None:
    check_published(trial(8), SETTINGS)
    with pytest.raises(VoidError, match="8 were published to work, but 7 are in it"):
        check_published(trial(7), SETTINGS)


def test_ratios_are_taken_within_a_round_and_skip_rounds_without_a_figure() -> None:
    results = Results()
    for number, (base, ours) in enumerate([(100.0, 200.0), (10.0, None), (None, 70.0), (50.0, 150.0)]):
        if base is not None:
            results.add(number, "base", {"rate": base})
        if ours is not None:
            results.add(number, "ours", {"rate": ours})
    assert results.ratio("rate", "ours", "base") == 2.5
    assert results.median("rate", "ours") == 150.0
    assert results.values("rate", "ours") == [200.0, None, 70.0, 150.0]


def test_the_table_marks_the_best_even_if_it_is_a_peer_and_says_why_there_is_no_figure() -> None:
    results = Results(reasons={"throughput": {"dramatiq_worker": "it declares classic queues only"}})
    results.add(0, BASE, {"consume rate": 1000.0})
    results.add(0, "template", {"consume rate": 2000.0})
    results.add(0, "bare", {"consume rate": 3000.0})
    text = table(results, [BASE, "template", "bare", "dramatiq_worker", "celery_worker"])
    assert "| consume | 1,000/s | 2,000/s (2.00) | **3,000/s** (3.00) | – <sup>1</sup> | – <sup>2</sup> |" in text
    assert "1. Dramatiq: it declares classic queues only." in text
    assert "2. Celery: went wrong in every round." in text


def test_the_ceiling_of_two_instances_is_that_of_one_in_the_same_round() -> None:
    alone, both = [Run(900, 0.001), Run(400, 0.002), Run(800, 0.00125)], [Run(1900, 1), Run(900, 1), Run(1360, 1)]
    text = said(alone, both, cores=2)
    assert "one instance: 800/s; a message costs the machine 1.25 ms of CPU (the handler: 1)" in text
    assert "2 cores / 1.25 ms = 1,600/s" in text
    assert "two instances: 1,360/s, 0.90 of that" in text
