"""Writes what depends on the answers: one handler module a queue, one test a handler; drops what nobody chose.

Runs with cookiecutter's own Python, in the new project, at every bake and twice in every `cruft update`. So: the
standard library alone, no network, no git, nothing random.
"""

import json
import re
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

Queue = dict[str, Any]
PLAN = json.loads(json.loads(r"""[{{ cookiecutter.__plan | tojson }}]""")[0])
"""`queues`: name, provider, dlq, handler, types (name, method, model); `dropped`: names of `ONLY_WITH`, not chosen."""
NAME, PROJECT = json.loads(r"""[{{ cookiecutter.project_name | tojson }}, {{ cookiecutter.project_slug | tojson }}]""")
FILES = json.loads(r"""{{ cookiecutter | template_files | tojson }}""")
"""The template's files, as far as they are not written here."""

ONLY_WITH = {
    "rabbitmq": [
        "app/queue/providers/rabbitmq",
        "docs/rabbitmq.md",
        "tests/broker_rabbitmq.py",
    ],
    "redis": [
        "app/queue/providers/redis",
        "docs/redis.md",
        "tests/broker_redis.py",
    ],
    "nats": [
        "app/queue/providers/nats",
        "docs/nats.md",
        "tests/broker_nats.py",
    ],
    "rabbitmq, redis, nats": [
        "tests/test_broker.py",
    ],
    "redis, nats, polled_kit": [
        "app/queue/broker/batches.py",
        "app/queue/broker/consumer.py",
        "app/queue/broker/leases.py",
        "app/queue/broker/polling.py",
        "app/queue/broker/reader.py",
    ],
}
"""The manifest: what is there for one provider alone, or for any of several, and goes if nobody chose one of them.

`polled_kit` is chosen by the answer `_polled_kit=yes`, which nobody is asked for: it is for a provider of one's own.

In pyproject.toml, a line says `# only with rabbitmq`, or `# only with rabbitmq, redis`: with either.
"""
ONLY_WITH_COMMENT = re.compile(r"# only with ([a-z]+(?:, [a-z]+)*)")

HANDLER_HEAD = '''"""Handlers of the queue {queue}: yours to fill in."""

import logging
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.queue.handling import (
{names}
)

logger = logging.getLogger(__name__)
'''

MODEL = """

class {model}(BaseModel):
{docstring}

    model_config = ConfigDict(extra="allow")

{type}
"""

CLASS = '''

class {handler}:
    """One public method a message type.

{outcomes}
    """
'''
OUTCOMES = """    Return: the message is done. Raise: it is tried again, later and later, then {end}.
    Raise `Reject`: that happens at once. A message may come more than once, with the same `message_id`."""

METHOD = '''
{decorator}{signature}
        """Handle `{type}`."""
        logger.info("%s %s: %s", message.type, current_delivery().message_id, message.model_dump())
'''
LINE = 120
"""Characters. What would be longer is written as ruff would format it."""

TEST = '''"""How to test the handlers of {queue}: no broker, no server, just the call."""

from app.queue.testing import handler_of


{tests}'''

TEST_CASE = '''async def test_{method}_is_handled() -> None:
    """The payload is validated and the method called, as for a received message; what it raises is raised here."""
    async with handler_of("{queue}") as handler:
{call}
'''


def handler_module(queue: Queue) -> str:
    """The source of `app/queue/handlers/<queue>.py`."""
    types = queue["types"]
    decorated = any(kind["name"] != kind["method"] for kind in types)
    names = "    current_delivery,\n    message_type," if decorated else "    current_delivery,"
    parts = [HANDLER_HEAD.format(queue=queue["name"], names=names)]
    end = "goes to the dead-letter queue" if queue["dlq"] else "is logged whole and dropped"
    parts += [model(kind, end) for kind in types]
    parts.append(CLASS.format(handler=queue["handler"], outcomes=OUTCOMES.format(end=end)))
    for kind in types:
        decorator = "" if kind["name"] == kind["method"] else '    @message_type("%s")\n' % kind["name"]
        signature = either(
            "    async def %s(self, message: %s) -> None:" % (kind["method"], kind["model"]),
            "    async def %s(\n        self, message: %s\n    ) -> None:" % (kind["method"], kind["model"]),
        )
        parts.append(METHOD.format(decorator=decorator, signature=signature, type=kind["name"]))
    return "".join(parts)


def model(kind: dict[str, str], end: str) -> str:
    """The source of a message type's model."""
    name = kind["name"]
    one, other = "What a message of type `%s` holds." % name, "One that doesn't fit %s at once." % end
    docstring = either('    """%s %s"""' % (one, other), '    """%s\n\n    %s\n    """' % (one, other))
    field = either(
        '    type: Literal["%s"] = "%s"' % (name, name),
        '    type: Literal["%s"] = (\n        "%s"\n    )' % (name, name),
    )
    return MODEL.format(model=kind["model"], docstring=docstring, type=field)


def either(line: str, lines: str) -> str:
    """The line, or the lines if it is too long."""
    return line if len(line) <= LINE else lines


def handler_test(queue: Queue) -> str:
    """The source of `tests/handlers/test_<queue>.py`."""
    types = queue["types"]
    cases = [TEST_CASE.format(method=kind["method"], queue=queue["name"], call=call(kind["name"])) for kind in types]
    return TEST.format(queue=queue["name"], tests="\n\n".join(cases))


def call(name: str) -> str:
    """The source of a call with a message of this type."""
    payload = '{"type": "%s"}' % name
    return either(
        "        await handler.process_message(%s)" % payload,
        "        await handler.process_message(\n            %s\n        )" % payload,
    )


def tidy() -> None:
    """Make every file writable, as a template's need not be, and drop the bytecode that somebody left among them."""
    for path in map(Path, FILES):
        if path.parent.name == "__pycache__":
            path.unlink(missing_ok=True)
        else:
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
    for folder in {Path(name).parent for name in FILES if Path(name).parent.name == "__pycache__"}:
        folder.rmdir()


def write_handlers() -> None:
    """One module and one test a queue."""
    for queue in PLAN["queues"]:
        write(Path("app/queue/handlers", queue["name"] + ".py"), handler_module(queue))
        write(Path("tests/handlers", "test_" + queue["name"] + ".py"), handler_test(queue))


def drop_what_is_unused() -> None:
    """Delete the files of every provider that no queue uses, and the lines of pyproject.toml that are for it."""
    for names in filter(is_dropped, ONLY_WITH):
        for pattern in ONLY_WITH[names]:
            for path in sorted(Path().glob(pattern)):
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    pyproject = Path("pyproject.toml")
    kept = []
    for line in pyproject.read_text(encoding="utf-8").splitlines(keepends=True):
        comment = ONLY_WITH_COMMENT.search(line)
        if comment is None or not is_dropped(comment.group(1)):
            kept.append(line)
    write(pyproject, "".join(kept))


def is_dropped(names: str) -> bool:
    """True if nobody chose any of these, which are joined by commas."""
    return set(names.split(", ")) <= set(PLAN["dropped"])


def write_title() -> None:
    """The project's name as the title of its API, if it has room on the line."""
    main = Path("app/main.py")
    title = python_text(" ".join(NAME.split()))
    if len(title.encode("utf-8")) <= 62:
        write(main, main.read_text(encoding="utf-8").replace('title="Queue Service"', "title=" + title))


def python_text(text: str) -> str:
    """A line of text as Python source, as it reads, in the quotes that ruff chooses. What can't be seen is escaped."""
    quote = "'" if text.count('"') > text.count("'") else '"'
    shown = text.replace("\\", "\\\\").replace(quote, "\\" + quote)
    seen = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)
    return quote + seen + quote


def write(path: Path, text: str) -> None:
    """Write a file with the same bytes on every platform."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))


def say_what_is_next() -> None:
    """The next two commands."""
    print("\nDone. Next:\n\n  cd %s\n  make run\n" % PROJECT)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for half a second: half a project would be of no use
    tidy()
    write_handlers()
    write_title()
    drop_what_is_unused()
    say_what_is_next()
