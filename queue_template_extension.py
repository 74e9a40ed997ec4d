"""What cookiecutter needs to understand the answers: the grammar of `queues`, and a check of every other answer.

A wrong answer ends the bake with one line and leaves nothing on disk, because the checks run while the questions are
asked. Answers arrive as values and never as source, so nothing in them can be executed.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from jinja2 import Environment, Undefined, pass_environment
from jinja2.ext import Extension

from queue_template_bake import (
    ANSWERS_FILE,
    FOLDER,
    BakeRefusedError,
    begin,
    call_of,
    check_given,
    checked_kind,
    template_files,
)

EXAMPLE = "user_channel: send_audio, send_text; orders@memory!nodlq: order.created"
PROVIDERS = ("rabbitmq", "redis", "nats", "memory")
NAME = re.compile(r"[a-z][a-z0-9_]*")
SLUG = re.compile(r"[a-z][a-z0-9_-]*")
TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:[.-][A-Za-z_][A-Za-z0-9_]*)*")
QUEUE = re.compile(r"(?P<name>[^@!]*)(?:@(?P<provider>[^!]*))?(?:!(?P<flag>.*))?", re.DOTALL)
MAX_NAME = 48
WINDOWS = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
PREFIXES = ("dlq_", "parked_", "retry_", "quarantine_")
UNASKED = frozenset({"_polled_kit"})
"""Answers that no question asks for. They are given on the command line of cookiecutter, or by `queue-template set`."""
YAML_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
LIBRARIES = frozenset(
    {
        *("aio-pika", "aiormq", "fastapi", "nats-py", "prometheus-client", "pybreaker", "pydantic", "pyyaml", "redis"),
        *("httpx2", "mypy", "pytest", "pytest-asyncio", "pytest-timeout"),
        *("ruff", "tenacity", "types-pyyaml", "uvicorn", "uvloop"),
    }
)
"""What the project's pyproject.toml asks for: a project of that name would depend on itself."""


class WrongAnswerError(Exception):
    """An answer that can't be used. The text is one line, and says which answer, what is wrong, and what is right."""


@dataclass(frozen=True)
class MessageType:
    """A message type: `order.created`, its method `order_created`, its model `OrderCreatedMessage`."""

    name: str
    method: str
    model: str


@dataclass(frozen=True)
class Queue:
    """A queue of the answer: `handler` is its class, `module` its file in `app/queue/handlers/`."""

    name: str
    provider: str
    dlq: bool
    handler: str
    types: tuple[MessageType, ...]


def parse_queues(text: str, *, provider: str, dlq: bool) -> tuple[Queue, ...]:
    """Parse the answer to `queues`. Raises WrongAnswerError.

    queues = queue *( ";" queue )                              blanks around every part are ignored
    queue  = name [ "@" provider ] [ "!dlq" | "!nodlq" ] [ ":" type *( "," type ) ]
    """
    queues: list[Queue] = []
    for part in text.split(";"):
        queue = _parse_queue(part, provider, dlq)
        if any(other.name == queue.name for other in queues):
            raise _wrong(f"queue {queue.name!r} is there twice")
        queues.append(queue)
    return tuple(queues)


def _parse_queue(part: str, provider: str, dlq: bool) -> Queue:
    head, colon, tail = part.partition(":")
    if not head.strip():
        raise _wrong("a queue has no name" if part.strip() else "there is an empty queue")
    match = QUEUE.fullmatch(head)
    assert match is not None
    name = match["name"].strip()
    _check_name(name)
    chosen = provider if match["provider"] is None else match["provider"].strip()
    if chosen not in PROVIDERS:
        raise _wrong(f"queue {name!r}: no provider {chosen!r}; there are {', '.join(PROVIDERS)}")
    flag = ("dlq" if dlq else "nodlq") if match["flag"] is None else match["flag"].strip()
    if flag not in ("dlq", "nodlq"):
        raise _wrong(f"queue {name!r}: '!{flag}' must be '!dlq' or '!nodlq'")
    types = _parse_types(name, tail if colon else "example")
    return Queue(name, chosen, flag == "dlq", _handler(name), types)


def _check_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise _wrong(f"queue name {name!r} must have small letters, digits and '_', and begin with a letter")
    if len(name) > MAX_NAME:
        raise _wrong(f"queue name {name[:20]!r}... has {len(name)} characters; {MAX_NAME} are allowed")
    if keyword.iskeyword(name):
        raise _wrong(f"queue name {name!r} is a Python keyword, and so can't be a module's")
    if name == "register_handlers":
        raise _wrong(f"queue name {name!r} is the name of a module that is there already")
    if name in WINDOWS:
        raise _wrong(f"queue name {name!r} can't be a file's name on Windows")
    if name.startswith(PREFIXES):
        raise _wrong(
            f"queue name {name!r} begins with {name.partition('_')[0]}_, which names queues that are made for it"
        )


def _parse_types(queue: str, text: str) -> tuple[MessageType, ...]:
    types: list[MessageType] = []
    for part in text.split(","):
        name = part.strip()
        if not name:
            raise _wrong(f"queue {queue!r}: there is an empty message type")
        if not TYPE.fullmatch(name):
            raise _wrong(
                f"queue {queue!r}: type {name!r} must be identifiers joined by '.' or '-', such as order.created"
            )
        method = re.sub(r"[.-]", "_", name)
        if method.startswith("_") or keyword.iskeyword(method):
            why = "begins with '_'" if method.startswith("_") else "is a Python keyword"
            by_hand = f"write one by hand, with @message_type({name!r})"
            raise _wrong(f"queue {queue!r}: type {name!r} {why}, and so can't be a public method; {by_hand}")
        found = MessageType(name, method, f"{_camel(method)}Message")
        for other in types:
            if found.name == other.name:
                raise _wrong(f"queue {queue!r}: type {name!r} is there twice")
            if found.method == other.method or found.model.lower() == other.model.lower():
                raise _wrong(f"queue {queue!r}: types {other.name!r} and {name!r} would have the same names in Python")
        types.append(found)
    return tuple(types)


def _handler(queue: str) -> str:
    stem = re.sub(r"(?<=.)_(?:channel|queue)$", "", queue)
    return f"{_camel(stem)}Handler"


def _camel(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def _wrong(text: str) -> WrongAnswerError:
    return WrongAnswerError(f"queues: {text}. Right is, for example: {EXAMPLE}")


def slug(name: str) -> str:
    """A slug made of a project's name; `queue-service` if nothing of it can be used."""
    plain = unicodedata.normalize("NFKD", name.casefold()).encode("ascii", "ignore").decode()  # São Paulo: sao-paulo
    text = re.sub(r"[^a-z0-9]+", "-", plain)
    text = re.sub(r"^[0-9-]+", "", text)[:64].rstrip("-")
    return text if text and text not in WINDOWS else "queue-service"


def checked_slug(text: str) -> str:
    """The slug. Raises WrongAnswerError."""
    if not SLUG.fullmatch(text) or len(text) > 64:
        raise WrongAnswerError(
            f"project_slug: {text[:80]!r} must have small letters, digits, '-' and '_', begin with a letter, and be "
            "64 characters at most. Right is, for example: queue-service"
        )
    if text in WINDOWS:
        raise WrongAnswerError(f"project_slug: {text!r} can't be a folder's name on Windows. Right is: queue-service")
    if text.replace("_", "-") in LIBRARIES:
        raise WrongAnswerError(f"project_slug: {text!r} is a library that the project needs. Right is: queue-service")
    return text


def checked_number(text: str, name: str, low: int, high: int, example: int) -> str:
    """The number, as text. Raises WrongAnswerError."""
    if not re.fullmatch(r"[0-9]{1,9}", str(text).strip()) or not low <= int(text) <= high:
        raise WrongAnswerError(
            f"{name}: {text!r} must be a whole number from {low} to {high}. Right is, for example: {example}"
        )
    return str(int(text))


def checked_polled_kit(answers: Mapping[str, Any]) -> str:
    """The answer to `_polled_kit`, which cookiecutter takes as it comes. Raises WrongAnswerError."""
    if answers["_polled_kit"] not in ("yes", "no"):
        raise WrongAnswerError(f"_polled_kit: {str(answers['_polled_kit'])[:80]!r} must be yes or no")
    return str(answers["_polled_kit"])


def checked_texts(answers: Mapping[str, Any]) -> str:
    """Free text may be anything but control characters and surrogates, which no file format could hold."""
    for name in ("project_name", "description", "author"):
        text = str(answers.get(name, ""))  # copier asks one after the other
        if len(text) > 1000 or re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", text):
            raise WrongAnswerError(f"{name}: must have no control characters, and 1000 characters at most")
    return ""


def queues_of(answers: Mapping[str, Any]) -> tuple[Queue, ...]:
    """The queues of all answers together."""
    return parse_queues(
        str(answers["queues"]), provider=str(answers["provider"]), dlq=answers.get("dead_letter_queues", "yes") == "yes"
    )


def chosen_providers(answers: Mapping[str, Any]) -> list[str]:
    """The providers of the queues, and the embedded one, which every project has."""
    return sorted({queue.provider for queue in queues_of(answers)} | {"memory"})


def plan(answers: Mapping[str, Any]) -> str:
    """What the post-gen hook works from, as JSON."""
    dropped = [provider for provider in PROVIDERS if provider not in chosen_providers(answers)]
    if answers["_polled_kit"] != "yes":
        dropped.append("polled_kit")
    return json.dumps({"queues": [asdict(queue) for queue in queues_of(answers)], "dropped": dropped})


def made_from(answers: Mapping[str, Any]) -> str:
    """The template's version and the answers, as JSON: what links a project that cookiecutter made to its template."""
    given = {name: value for name, value in answers.items() if not name.startswith("_") or name in UNASKED}
    return json.dumps({"version": answers["__version"], "answers": given}, ensure_ascii=False, indent=2)


def quoted(text: str) -> str:
    """One line of text for between double quotes, in TOML, YAML and JSON alike. Emoji stay as they are."""
    return json.dumps(" ".join(str(text).split()), ensure_ascii=False)[1:-1]


def yaml_name(name: str) -> str:
    """A queue's name in YAML, where some words mean something else: `on` is true, in YAML 1.1."""
    return f'"{name}"' if name in YAML_WORDS else name


def one_line(text: str) -> str:
    """Text for a line of Markdown: nothing in it is markup."""
    flat = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>#|!&~$])", r"\\\1", flat)


@pass_environment
def settled(environment: Environment, answers: dict[str, Any]) -> str:
    """The project's folder, when all answers are known and nothing is on disk. Raises WrongAnswerError or
    BakeRefusedError.

    A replay file has the answers of an earlier bake, perhaps edited, and beside them what was derived from those: it is
    derived again, so that it follows the answers, and is checked with them.
    """
    for name, value in _questions().items():
        if name.startswith("__") and name != "__prompts__":
            answers[name] = environment.from_string(value).render(cookiecutter=answers)
        elif name.startswith("_") and name not in UNASKED:
            answers[name] = value
        elif name not in UNASKED:
            answers[name] = checked_kind(name, answers.get(name), value)
    begin(answers, [queue.name for queue in queues_of(answers)])
    return str(answers["project_slug"])


def _questions() -> dict[str, Any]:
    questions: dict[str, Any] = json.loads((Path(__file__).parent / "cookiecutter.json").read_text(encoding="utf-8"))
    return questions


class QueueTemplateExtension(Extension):
    """Gives the filters above to cookiecutter."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        _forget_these_modules()
        _ending(check_given)(_questions(), UNASKED)
        filters = {
            "slug": _ending(slug),
            "checked_slug": _ending(checked_slug),
            "checked_number": _ending(checked_number),
            "checked_texts": _ending(checked_texts),
            "checked_polled_kit": _ending(checked_polled_kit),
            "checked_queues": _ending(lambda answers: str(len(queues_of(answers)))),
            "plan": _ending(plan),
            "parsed_queues": _ending(queues_of),
            "chosen_providers": _ending(chosen_providers),
            "made_from": made_from,
            "quoted": quoted,
            "one_line": one_line,
            "yaml_name": yaml_name,
            "settled": _ending(settled),
            "template_files": lambda _: template_files(),
        }
        environment.filters.update(filters)
        environment.globals["_copier_conf"] = {"answers_file": ""}  # a file that has no name is not made
        self._ours = _own_templates(Path(__file__).parent)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:  # noqa: ARG002
        """Keep an answer that looks like Jinja as the text it is.

        cookiecutter renders what it is given on its command line, in a config file or by cruft, as if it were a default
        of the template: code in an answer would run, and an answer that was typed in would change in an update.
        """
        if source == FOLDER and call_of("generate_files"):
            return "{{ cookiecutter | settled }}"
        if name is not None or not re.search(r"\{[{%#]", source) or source in self._ours:
            return source
        if not re.search(r"\{[{%#]", source.replace("{{cookiecutter.project_slug}}", "")):
            return source  # a path
        return "{{ %s }}" % json.dumps(source, ensure_ascii=False)


def _own_templates(root: Path) -> frozenset[str]:
    """Every text that is rendered and is the template's own: the values of cookiecutter.json, and the hooks."""
    values: list[Any] = [json.loads((root / "cookiecutter.json").read_text(encoding="utf-8"))]
    texts: set[str] = {ANSWERS_FILE}
    while values:
        value = values.pop()
        if isinstance(value, dict):
            values.extend(value.values())
        elif isinstance(value, list):
            values.extend(value)
        else:
            texts.add(str(value))
    texts.update(hook.read_text(encoding="utf-8") for hook in (root / "hooks").glob("*.py"))
    return frozenset(texts)


def _ending(function: Any) -> Any:
    """The function, with a wrong answer ending the program by one line on stderr and exit code 1.

    Where a replay file has some of the answers, cookiecutter renders the others without those. What can't be said then
    is left open: `settled` sees them all.
    """

    @wraps(function)
    def checked(*args: Any, **options: Any) -> Any:
        if any(isinstance(value, Undefined) for value in args):
            return ""
        try:
            return function(*args, **options)
        except (WrongAnswerError, BakeRefusedError) as error:
            raise SystemExit(f"Error: {error}") from None
        except KeyError:
            if call_of("prompt_for_config"):
                return ""
            raise

    return checked


def _forget_these_modules() -> None:
    """Let the next render import the modules anew.

    `cruft update` renders the project's old and new template commit in one process. With the modules still imported,
    the new commit would be rendered with the old code; with their bytecode on disk, an edit of the same size is missed.
    """
    for name in (__name__, "queue_template_bake"):
        module = sys.modules.pop(name, None)
        spec = module and module.__spec__
        if spec is not None and spec.cached:
            with suppress(OSError):  # the template is somebody else's, who can't have edited it under us
                Path(spec.cached).unlink()
