"""`queues.yaml` as pydantic models, and `load_queues()`.

Every mistake is a ConfigError whose message names the file, the queue, the key, and what is allowed. Values are never
repeated in it, since a wrong one may be a password in the wrong place.
"""

from __future__ import annotations

import difflib
import os
import re
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, ValidationError, field_validator, model_validator

from app.queue import environment
from app.queue.errors import ConfigError
from app.queue.providers import find_provider

MAX_WAIT_QUEUES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}")
Model = TypeVar("Model", bound="Section")
RESERVED = ("dlq_", "parked_", "retry_")


class Section(BaseModel):
    """A part of the file. Unknown keys are errors; nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RetryConfig(Section):
    """How often and how soon a failed message is tried again. Times are in seconds."""

    max_attempts: int = Field(5, ge=1, le=1000)
    initial_delay: float = Field(1.0, ge=0.001, le=86_400)
    multiplier: float = Field(2.0, ge=1, le=100)
    max_delay: float = Field(300.0, ge=0.001, le=86_400)

    def delay(self, failures: int) -> float:
        """Seconds to wait after the given number of failed attempts (1 or more), in whole milliseconds."""
        try:
            delay = self.initial_delay * self.multiplier ** (failures - 1)
        except OverflowError:
            delay = self.max_delay
        return round(min(delay, self.max_delay), 3)

    def delays(self) -> tuple[float, ...]:
        """Every delay that can occur, in growing order. A broker may need a wait queue for each."""
        return tuple(sorted({self.delay(n) for n in range(1, max(self.max_attempts, 2))}))

    @model_validator(mode="after")
    def _few_delays(self) -> RetryConfig:
        if len(self.delays()) > MAX_WAIT_QUEUES:
            raise ValueError(
                f"these values make {len(self.delays())} different delays, and at most {MAX_WAIT_QUEUES} are possible: "
                "lower max_attempts or max_delay, or raise multiplier"
            )
        return self


class DLQConfig(Section):
    """The passes over the dead-letter queue."""

    retry_interval: float = Field(300.0, ge=0, le=30 * 86_400)
    """Seconds between passes; 0 for none."""
    max_retries: int = Field(3, ge=0, le=1000)
    """How often a message is sent back to its queue before it is parked."""


class CircuitBreakerConfig(Section):
    """The circuit breaker around publishing."""

    fail_max: int = Field(5, ge=1)
    reset_timeout: float = Field(5.0, gt=0, le=3600)


class PauseConfig(Section):
    """When to stop consuming because everything fails. Times are in seconds."""

    after: int = Field(10, ge=0)
    """Pause once this many different messages failed with no success between; 0 for never."""
    initial_delay: float = Field(1.0, gt=0, le=3600)
    """Time to the first probe. It doubles with each that fails."""
    max_delay: float = Field(15.0, gt=0, le=3600)


class QueueConfig(Section):
    """One queue, as far as the core is concerned. A provider's own model adds the keys of its broker."""

    name: str
    type: str
    enable_consumer: bool = True
    enable_publisher: bool = True
    enable_dlq: bool = True
    prefetch: int = Field(20, ge=1, le=65_535)
    """Messages in hand at most, running or waiting for a free place."""
    concurrency: int = Field(10, ge=1, le=10_000)
    """Handlers running at a time at most."""
    handler_timeout: float = Field(300.0, gt=0, le=7 * 86_400)
    """Seconds until an `async def` handler is cancelled, which counts as a failure."""
    publish_timeout: float = Field(5.0, gt=0, le=300)
    """Seconds until a publish that the broker does not confirm is an error."""
    max_message_bytes: int = Field(1_048_576, ge=1, le=128 * 1_048_576)
    retry: RetryConfig = RetryConfig()
    dlq: DLQConfig = DLQConfig()
    circuit_breaker: CircuitBreakerConfig = CircuitBreakerConfig()
    pause: PauseConfig = PauseConfig()

    @model_validator(mode="after")
    def _enough_in_hand(self) -> Self:
        if "concurrency" in self.model_fields_set and self.prefetch < self.concurrency:
            raise ValueError("concurrency is more than prefetch, so it is never reached: raise prefetch, too")
        return self

    @field_validator("name")
    @classmethod
    def _good_name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError("a name has 1 to 128 letters, digits, '_', '-' or '.', and begins with a letter or digit")
        if name.startswith(RESERVED):
            raise ValueError(f"a name can't begin with {', '.join(RESERVED)}: those queues are made for it")
        return name


class DrainConfig(Section):
    """Shutting down on SIGTERM. Both in seconds; keep the sum below the grace period of whoever sends the signal."""

    delay: float = Field(1.0, ge=0, le=300)
    """How long `/health/ready` says 503 before the port closes, so that a load balancer sees it."""
    timeout: float = Field(20.0, ge=0, le=3600)
    """How long running handlers may take to finish."""


class QueuesConfig(Section):
    """The whole file."""

    queues: list[SerializeAsAny[QueueConfig]]
    consumer_threads: int = Field(4, ge=1, le=64)
    """Event loops, each in a thread of its own, over which the consumers are spread."""
    drain: DrainConfig = DrainConfig()

    def queue(self, name: str) -> QueueConfig | None:
        """The queue of that name, if there is one."""
        return next((queue for queue in self.queues if queue.name == name), None)


def load_queues(path: str | os.PathLike[str] | None = None) -> QueuesConfig:
    """Read `path`, or the file that `QUEUES_FILE` names, or `./queues.yaml`. Raises ConfigError."""
    file = Path(path or os.environ.get("QUEUES_FILE") or "queues.yaml")
    document = _read(file)
    override = environment.provider_override()
    names: list[str] = []
    queues: list[QueueConfig] = []
    if unknown := [key for key in document if key not in QueuesConfig.model_fields]:
        raise ConfigError(f"{file}: {_unknown(unknown[0], QueuesConfig, [])}")
    entries = document.pop("queues", None)
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{file}: key 'queues' must be a list with at least one queue")
    for number, entry in enumerate(entries, 1):
        queue = _load_queue(file, number, entry, override)
        if queue.name in names:
            raise ConfigError(f"{file}: queue {queue.name!r} is there twice")
        names.append(queue.name)
        queues.append(queue)
    return _validate(QueuesConfig, {**_filled_in(document, f"{file}"), "queues": queues}, f"{file}")


def _load_queue(file: Path, number: int, entry: Any, override: str | None) -> QueueConfig:
    if not isinstance(entry, Mapping):
        raise ConfigError(f"{file}: queue number {number} must be a mapping that begins with 'name: ...'")
    name = entry.get("name")
    named = isinstance(name, str) and NAME.fullmatch(name)
    where = f"{file}: queue {name!r}" if named else f"{file}: queue number {number}"
    kind = _filled_in({"type": entry.get("type")}, where)["type"]
    if not isinstance(kind, str):
        raise ConfigError(f"{where}: key 'type' must name a provider, for example 'type: rabbitmq'")
    model = find_provider(kind, where).config
    if override is not None and override != kind:
        # The file stays as it is, with keys for a broker that is not there. Those must be known, and are then left out.
        for key in entry:
            if key not in model.model_fields:
                raise ConfigError(f"{where}: {_unknown(key, model, [])}")
        model = find_provider(override, "environment variable QUEUE_PROVIDER").config
        entry = {key: value for key, value in entry.items() if key in model.model_fields} | {"type": override}
    return _validate(model, _filled_in(dict(entry), where), where)


def _read(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{file}: no such file (looked in {Path.cwd()}; QUEUES_FILE names another)") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read: {error}") from None
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - _Loader is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = error.problem or "can't be read"
        if isinstance(error, yaml.constructor.ConstructorError | yaml.composer.ComposerError):
            problem = re.sub("'[^']*'", "'...'", problem)  # a value that looks like a tag or an alias
        raise ConfigError(f"{file}{place}: not valid YAML: {problem}") from None
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"{file}: not valid YAML; is there a date, a number or a character that can't be?") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{file}: must be a mapping with the key 'queues'")
    return document


class _DuplicateKeyError(yaml.MarkedYAMLError):
    """A key that is there twice."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, where PyYAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag.endswith(":merge"):
                continue
            if key_node.value in seen:
                raise _DuplicateKeyError(None, None, f"key {key_node.value!r} is there twice", key_node.start_mark)
            seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def _filled_in(value: dict[str, Any], where: str) -> dict[str, Any]:
    filled = environment.interpolate(value, where)
    assert isinstance(filled, dict)
    return filled


def _validate(model: type[Model], data: dict[str, Any], where: str) -> Model:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_line(model, problem) for problem in error.errors(include_url=False, include_input=False)]
        joined = lines[0] if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)
        raise ConfigError(f"{where}: {joined}") from None


def _line(model: type[Section], problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join(location)
    if problem["type"] == "extra_forbidden":
        return _unknown(key, model, location[:-1])
    text = problem["msg"].removeprefix("Value error, ")
    return f"key {key!r}: {text}" if key else text


def _unknown(key: object, model: type[Section], path: list[str]) -> str:
    known = _keys_at(model, path)
    close = difflib.get_close_matches(str(key).rpartition(".")[2], known, 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known are: {', '.join(known)}"
    return f"key {key!r}: unknown key; {hint}"


def _keys_at(model: type[BaseModel], path: list[str]) -> list[str]:
    for name in path:
        field = model.model_fields.get(name)
        annotations = (field.annotation, *typing.get_args(field.annotation)) if field else ()
        sections = [inner for inner in annotations if isinstance(inner, type) and issubclass(inner, BaseModel)]
        if not sections:
            return []
        model = sections[0]
    return sorted(model.model_fields)
