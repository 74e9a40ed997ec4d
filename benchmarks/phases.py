"""The measurements: each starts the processes it needs, checks that every message arrived, and returns figures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.broker import Broker
from benchmarks.http_client import Probe, free_port, post_all, wait_until_live
from benchmarks.process import Contender, VoidError
from benchmarks.settings import Settings
from benchmarks.workload import messages

PATIENCE = 180.0
PROBE_PAUSE = 0.005
LATENCY_RATE = 200.0
CONNECTIONS = 50
BATCH, BATCH_CONNECTIONS = 1_000, 4

Figures = dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One contender in one round."""

    name: str
    settings: Settings
    many: Settings
    """With as many queues as start at once."""
    broker: Broker


def throughput(trial: Trial) -> Figures:
    """Publish everything, then consume it."""
    return publish(trial, trial.settings) | consume(trial, trial.settings)


def waiting_handlers(trial: Trial) -> Figures:
    """Handlers that await 10 ms."""
    few = replace(trial.settings, messages=max(200, trial.settings.messages // 5))
    publish(trial, few)
    return {"await rate": consume(trial, replace(few, wait=0.01))["consume rate"]}


def latency(trial: Trial) -> Figures:
    """From just before a message is published to its handler, at a pace that nobody finds hard."""
    few = replace(trial.settings, messages=max(100, trial.settings.messages // 50), rate=LATENCY_RATE)
    with Contender(trial.name, "consume", few) as process:
        wait_for_consumers(trial, process, few.queues)
        with Contender(trial.name, "publish", few) as publisher:
            publisher.result(PATIENCE)
        result = process.result(PATIENCE)
    check(trial, few, result)
    return {"latency p50": result["p50"] * 1e6, "latency p99": result["p99"] * 1e6}


def http_in(trial: Trial) -> Figures:
    """POST to a service that only publishes, over 50 connections; the same messages in batches, where it has those."""
    few = replace(trial.settings, messages=max(200, trial.settings.messages // 5))
    publish(trial, replace(few, messages=1))  # the queue has to be there
    before = trial.broker.wait_for_depth(few.queue, 1)
    bodies = [message.model_dump_json().encode() for message in messages(few)]
    serving = replace(few, queues=(), port=free_port())
    with Contender(trial.name, "serve", serving) as process:
        _wait_until_live(process, serving.port)
        path = f"/queues/{few.queue}/messages"
        post_all(serving.port, path, bodies[:CONNECTIONS], CONNECTIONS)
        seconds = post_all(serving.port, path, bodies, CONNECTIONS)
        figures = {"POST rate": len(bodies) / seconds}
        wanted = before + CONNECTIONS + len(bodies)
        if trial.name == "template":
            batches = [b"[" + b",".join(bodies[at : at + BATCH]) + b"]" for at in range(0, len(bodies), BATCH)] * 5
            batch_seconds = post_all(serving.port, f"{path}:batch", batches, BATCH_CONNECTIONS)
            figures["batch gain"] = 5 * seconds / batch_seconds
            wanted += 5 * len(bodies)
    if (depth := trial.broker.wait_for_depth(few.queue, wanted)) != wanted:
        raise VoidError(f"{trial.name}: {wanted - before} were answered 202, but {depth - before} are in the queue")
    trial.broker.delete([few.queue])
    return figures


def http_while_consuming(trial: Trial) -> Figures:
    """Memory of the service when it has started; then, with a full queue, how late HTTP is answered meanwhile."""
    settings = replace(trial.settings, port=free_port())
    with Contender(trial.name, "serve", settings) as process:
        _wait_until_live(process, settings.port)
        wait_for_consumers(trial, process, settings.queues)
        time.sleep(0.3)
        figures = {"memory at start": process.memory()}
    publish(trial, settings)
    samples: list[tuple[float, float]] = []
    with Contender(trial.name, "serve", settings) as process:
        _wait_until_live(process, settings.port)
        deadline = time.monotonic() + PATIENCE
        with Probe(settings.port) as probe:
            while process.running and not process.has_result and time.monotonic() < deadline:
                samples.append((time.perf_counter(), probe.get()))
                time.sleep(PROBE_PAUSE)
        result = process.result(1)
        figures["memory after load"] = process.memory()
    check(trial, settings, result)
    during = [seconds for at, seconds in samples if result["first"] <= at <= result["last"]]
    if len(during) < 20:
        raise VoidError(f"{trial.name}: HTTP was asked {len(during)} times while it consumed: more messages are needed")
    cuts = statistics.quantiles(during, n=100)
    return figures | {"HTTP p50": cuts[49] * 1e3, "HTTP p99": cuts[98] * 1e3}


def start(trial: Trial) -> Figures:
    """From `exec` until each of many queues, which exist already, has its consumer."""
    figures: Figures = {}
    if any(trial.broker.depth(queue) < 0 for queue in trial.many.queues):
        _start(trial)
    trial.broker.left(trial.many.queues)  # the consumers of the start before are gone
    seconds, process_figures = _start(trial)
    figures["start"] = seconds
    return figures | process_figures


def _start(trial: Trial) -> tuple[float, Figures]:
    settings = replace(trial.many, port=free_port())
    with Contender(trial.name, "consume", settings) as process:
        wait_for_consumers(trial, process, settings.queues)
        seconds = time.perf_counter() - process.started
        time.sleep(0.5)
        return seconds, {
            "start threads": process.threads(),
            "start connections": process.connections(trial.broker.port),
            "start memory": process.memory(),
        }


PHASES: dict[str, Callable[[Trial], Figures]] = {
    "throughput": throughput,
    "waiting": waiting_handlers,
    "latency": latency,
    "post": http_in,
    "http": http_while_consuming,
    "start": start,
}


def publish(trial: Trial, settings: Settings, patience: float = PATIENCE) -> Figures:
    """Publish all messages with its own publisher, spread over the queues.

    Afterwards all are in queues that were empty before, or there is no figure.
    """
    with Contender(trial.name, "publish", settings) as process:
        result = process.result(patience)
    check_published(trial, settings)
    return {
        "publish rate": settings.messages / result["seconds"],
        "publish CPU": result["cpu"] / settings.messages * 1e6,
    }


def consume(trial: Trial, settings: Settings) -> Figures:
    """Consume what is in the queue: every message handled once, and the queue empty when the process is gone."""
    with Contender(trial.name, "consume", replace(settings, port=free_port())) as process:
        result = process.result(PATIENCE)
        memory = process.memory()
    check(trial, settings, result)
    count = settings.messages - 1  # from the first to the last
    return {
        "consume rate": count / (result["last"] - result["first"]),
        "consume CPU": result["cpu"] / count * 1e6,
        "consume memory": memory,
    }


def check_published(trial: Trial, settings: Settings) -> None:
    """Raise VoidError unless each queue has its share of the messages."""
    count, remainder = divmod(settings.messages, len(settings.queues))
    for place, queue in enumerate(settings.queues):
        share = count + (place < remainder)
        if (depth := trial.broker.wait_for_depth(queue, share)) != share:
            raise VoidError(f"{trial.name}: {share} were published to {queue}, but {depth} are in it")


def check(trial: Trial, settings: Settings, result: Figures) -> None:
    """Raise VoidError unless each message was handled once, and acked: the queues are empty, with no consumer left."""
    if result["calls"] != settings.messages:
        raise VoidError(f"{trial.name}: {settings.messages} messages handled in {result['calls']:.0f} calls")
    for queue, count in trial.broker.left(settings.queues).items():
        raise VoidError(f"{trial.name}: {count} messages in {queue} were handled, but not acked")


def wait_for_consumers(trial: Trial, process: Contender, queues: tuple[str, ...]) -> None:
    """Return when each queue has a consumer; raise VoidError, or CannotError, if that won't be."""
    if not trial.broker.wait_for_consumers(queues, lambda: process.going, PATIENCE):
        process.result(0.1)  # which says why, if it can
        raise VoidError(f"{trial.name}: not every queue got a consumer{process.tail()}")


def _wait_until_live(process: Contender, port: int) -> None:
    try:
        wait_until_live(port, lambda: process.going, PATIENCE)
    except VoidError:
        process.result(0.1)  # which says why, if it can
        raise
