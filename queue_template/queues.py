"""Which queues there are: `queues.yaml` and the handlers say it.

The answer in `.cruft.json` says which there were when it was written. Adding a queue writes no answer, so that two
branches that add one each don't meet there; and however a merge of it was resolved, what is there counts.
"""

from __future__ import annotations

import json
import keyword
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import yaml

from queue_template.answers import answers_of, queue_names
from queue_template.entries import entry
from queue_template.form import text_of
from queue_template.git import TemplateError
from queue_template.handlers import FOLDER, Home, homes
from queue_template.project import Project

FILE = "queues.yaml"
PROVIDERS = ("rabbitmq", "redis", "nats", "memory")
NAME = re.compile(r"(?!dlq_|parked_|retry_|quarantine_)[a-z][a-z0-9_]{0,47}")
TYPE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[.-][A-Za-z_][A-Za-z0-9_]*)*")
DEFAULT = re.compile(r"\$\{\w+:-(\w+)\}")
EXAMPLE = ["example"]
"""The type of a queue that none were named for."""
Entries = list[dict[str, Any]]


def entries(text: str) -> Entries | None:
    """The entries of a `queues.yaml` that have a name. None if it can't be read."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):  # a date that none is, what is nested too deep
        return None
    found = document.get("queues") if isinstance(document, dict) else None
    if not isinstance(found, list):
        return None
    return [one for one in found if isinstance(one, dict) and isinstance(one.get("name"), str)]


def entries_of(project: Project) -> Entries | None:
    """The project's. Raises TemplateError if a queue is there twice, since nobody could say which one is meant."""
    file = project.path / FILE
    found = entries(text_of(FILE, file.read_bytes())) if file.is_file() else None
    for name, count in Counter(one["name"] for one in found or []).items():
        if count > 1:
            raise TemplateError(f"{FILE} has the queue {name!r} {count} times: leave the entry that is right.")
    return found


def answers_now(project: Project, state: dict[str, Any]) -> dict[str, Any]:
    """The answers, with that to `queues` as the project is. Raises TemplateError as `entries_of`."""
    answers = answers_of(state)
    found = entries_of(project)
    if found is None:
        return answers
    folder = project.path / FOLDER
    sources = {
        file.relative_to(project.path).as_posix(): text_of(file.name, file.read_bytes())
        for file in sorted(folder.rglob("*.py"))
        if file.is_file()  # no folder, no pipe, no dangling link, which is how Emacs locks a file
    }
    return answers | {"queues": queues_now(answers, found, homes(sources))}


def queues_now(answers: dict[str, Any], found: Entries, handlers: dict[str, list[Home]]) -> str:
    """The answer to `queues`, less what is gone, and with the queues and types that are there, too."""
    named = {one["name"]: one for one in found}
    given = str(answers["queues"])
    parts = dict(zip(queue_names(given), (part.strip() for part in given.split(";")), strict=True))
    for name, one in named.items():
        usable = NAME.fullmatch(name) and not keyword.iskeyword(name)
        if name not in parts and usable and len(handlers.get(name, [])) == 1:
            parts[name] = _head(answers, one)
    # In the order of the file, or a render would have its entries in another one, and no entry could be merged.
    order = [name for name in named if name in parts] + [
        name for name in parts if name in handlers and name not in named
    ]
    return "; ".join(_with_types(parts[name], handlers.get(name, [])) for name in order) or given


def kind_of(one: dict[str, Any]) -> str:
    """The `type` of an entry: a provider of the template's, or another one."""
    return DEFAULT.sub(r"\1", str(one.get("type")))


def _head(answers: dict[str, Any], one: dict[str, Any]) -> str:
    """A queue without its types, in the answer's grammar; what is as in the other answers is left out."""
    kind = kind_of(one)
    provider = kind if kind in PROVIDERS else "memory"
    dlq = one.get("enable_dlq")
    text = str(one["name"]) if provider == answers["provider"] else f"{one['name']}@{provider}"
    usual = answers.get("dead_letter_queues", "yes") == "yes"
    return text if not isinstance(dlq, bool) or dlq == usual else f"{text}!{'dlq' if dlq else 'nodlq'}"


def _with_types(part: str, found: list[Home]) -> str:
    """A queue with the types that its handler has more, as far as the grammar has them."""
    head, colon, tail = part.partition(":")
    given = [kind.strip() for kind in tail.split(",")] if colon else []
    types, seen = list(given), {_plain(kind) for kind in given}
    for kind in found[0].types() if len(found) == 1 else []:
        if TYPE.fullmatch(kind) and _plain(kind) not in seen and not keyword.iskeyword(re.sub(r"[.-]", "_", kind)):
            types.append(kind)
            seen.add(_plain(kind))
    return part if types in (given, EXAMPLE) else f"{head.strip()}: {', '.join(types)}"


def _plain(kind: str) -> str:
    """Types that are the same here have names in Python that could not be told apart."""
    return re.sub(r"[._-]", "", kind).lower()


def says_itself(project: Project, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether `.cruft.json` may stay as it is, since the project says the rest: `after` has a queue or a type more.

    It may not if a render of what it says would lack a provider, or have a queue that is gone.
    """
    old, new = (state["context"]["cookiecutter"] for state in (before, after))
    dropped = [_dropped(answers) for answers in (old, new)]
    gone = set(queue_names(old["queues"])) - set(queue_names(new["queues"]))
    others = [{**answers_of(state), "queues": ""} for state in (before, after)]
    same = before["commit"] == after["commit"] and others[0] == others[1]
    return same and dropped[0] is not None and dropped[0] == dropped[1] and not gone and entries_of(project) is not None


def _dropped(answers: dict[str, Any]) -> list[str] | None:
    """What a render leaves out, as the template noted it. None if it didn't, as once, or if that can't be read."""
    try:
        found: list[str] = json.loads(answers["__plan"])["dropped"]
    except (ValueError, KeyError, TypeError):
        return None
    return found


def check_new(project: Project, names: Iterable[str]) -> None:
    """Raise TemplateError if one of these has an entry already."""
    there = {one["name"] for one in entries_of(project) or []}
    file = project.path / FILE
    text = text_of(FILE, file.read_bytes()) if file.is_file() else ""
    for name in names:
        if name in there or entry(text, name):
            raise TemplateError(f"{FILE} has an entry {name!r} already.")


def left_to_do(old: str, new: str, merged: str) -> list[str]:
    """What is wrong with the entries of a merged `queues.yaml`, in words. The others are those of both renders."""
    before, after = ({one["name"] for one in entries(text) or []} for text in (old, new))
    found = entries(merged)
    if found is None and before == after:
        return []
    if found is None:
        return [f"{FILE}: a list of entries can't be read in it; {', '.join(sorted(after - before))} has to be there."]
    counted = Counter(one["name"] for one in found)
    said = [f"{FILE}: put this below 'queues:'\n\n{entry(new, name)}" for name in after - before if not counted[name]]
    said += [f"{FILE}: {name} is there {count} times" for name, count in counted.items() if count > 1]
    return said + [f"{FILE}: delete the entry of {name}" for name in before - after if counted[name]]
