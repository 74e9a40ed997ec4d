"""Combinations of answers in which every pair of options meets."""

from __future__ import annotations

import itertools

OPTIONS = {
    "provider": ["rabbitmq", "memory"],
    "queues": [
        "user_channel: send_audio",
        "a; b: x; c!dlq: y, z; d!nodlq",
        "orders@memory: order.created, order-paid; users@rabbitmq!nodlq: sign_up",
        "only_memory@memory: x",
    ],
    "dead_letter_queues": ["yes", "no"],
    "max_attempts": ["1", "5", "1000"],
    "dlq_retry_interval": ["0", "300"],
}


def pairwise() -> list[dict[str, str]]:
    """A few combinations in which every two values of two options meet at least once. The same at every run."""
    names = list(OPTIONS)
    missing = {
        ((first, one), (second, other))
        for first, second in itertools.combinations(names, 2)
        for one in OPTIONS[first]
        for other in OPTIONS[second]
    }
    everything = [dict(zip(names, values, strict=True)) for values in itertools.product(*OPTIONS.values())]
    chosen: list[dict[str, str]] = []
    while missing:
        best = max(everything, key=lambda answers: len(pairs(answers) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def pairs(answers: dict[str, str]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    return set(itertools.combinations(answers.items(), 2))


COMBINATIONS = pairwise()
