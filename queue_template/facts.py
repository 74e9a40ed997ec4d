"""What a file says, as facts, by which a merge of lines is judged: it has to say what each of the two sides changed.

A fact is a key and the values it has, in order: the assignments of a name in a class, what stands at a place of a
document. A key that stands twice has two values.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Hashable, Iterator
from typing import Any

import yaml

from queue_template.lines import LINE

Fact = tuple[tuple[Hashable, ...], str]
Facts = dict[tuple[Hashable, ...], tuple[str, ...]]
FROM = "from"
REQUIREMENT = re.compile(r"([A-Za-z0-9][\w.-]*) *(?:\[[^\]]*\])? *(?:[<>=!~;@].*)?")
VARIABLE = re.compile(r"#? *([A-Z][A-Z0-9_]*)=.*")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a file of fifty queues is read two hundred times
Block = ast.stmt | ast.excepthandler | ast.match_case


def says_both(name: str, ours: str, base: str, theirs: str, both: str, *, completed: bool = False) -> bool:
    """Whether `both` says all that each side changed of `base`, and nothing besides.

    Not so if one of the texts can't be read, or if the sides made different things of one fact. With `completed`, an
    import of a name that `theirs` has more may be missing: it is put in later, if it is needed.
    """
    try:
        own, old, new, result = (facts(name, text) for text in (ours, base, theirs, both))
    except (SyntaxError, ValueError, yaml.YAMLError, RecursionError):
        return False
    for key in {*own, *old, *new, *result}:
        one, before, two, after = (found.get(key, ()) for found in (own, old, new, result))
        if completed and key[-2:-1] == (FROM,) and not (one or before or after):
            continue
        if after != (two if one == before else one) or (one not in (before, two) and two != before):
            return False
    return True


def facts(name: str, text: str) -> Facts:
    """What a file says. Raises SyntaxError, ValueError or YAMLError if it can't be read."""
    found: Facts = {}
    for key, value in _facts(name, text):
        found[key] = (*found.get(key, ()), value)
    return found


def _facts(name: str, text: str) -> Iterator[Fact]:
    if name.endswith(".py"):
        return _statements(ast.parse(text).body, ())
    if name.endswith(".toml"):
        return _values(tomllib.loads(text), ())
    if name.endswith((".yaml", ".yml")):
        return _values(_plain(yaml.compose(text, Loader=LOADER)), ())
    return _prose(name, text)


def _statements(body: list[Any], path: tuple[str, ...]) -> Iterator[Fact]:
    """The statements of a block; those inside of one have its name, or else its head, in their path."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (((*path, "import", alias.asname or alias.name), alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (((*path, FROM, alias.asname or alias.name), f"{module} {alias.name}") for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield (*path, "=", *map(ast.unparse, targets)), ast.dump(node)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines = filter(None, map(str.strip, node.value.value.split("\n")))
            yield from (((*path, "text", line), "") for line in lines)
        else:
            blocks = {field: value for field, value in ast.iter_fields(node) if _is_block(value)}
            for field in blocks:
                setattr(node, field, [])
            head = ast.dump(node)
            name = node.name if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) else head
            yield (*path, name), head
            for field, inside in blocks.items():
                yield from _statements(inside, (*path, name, field))


def _is_block(value: object) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Block)


def _values(found: Any, path: tuple[Hashable, ...]) -> Iterator[Fact]:
    """What stands at each place of a document. Things in a list are told apart by their name, or by what they are."""
    if isinstance(found, dict):
        yield path, "keys"
        for key, value in found.items():
            yield from _values(value, (*path, key))
    elif isinstance(found, list):
        yield path, "list"
        for value in found:
            yield from _values(value, (*path, "-", _name(value)))
    else:
        yield path, repr(found)


def _name(item: object) -> str:
    if isinstance(item, dict) and isinstance(item.get("name"), str):
        return str(item["name"])
    package = REQUIREMENT.fullmatch(item) if isinstance(item, str) else None
    return re.sub(r"[-_.]+", "-", package[1]).lower() if package else repr(item)


def _plain(node: yaml.Node | None) -> Any:
    """A document of YAML. Raises ValueError for a key that is there twice, of which a parser would take the last."""
    if isinstance(node, yaml.MappingNode):
        pairs = [(str(_plain(key)), _plain(value)) for key, value in node.value]
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key is there twice")
        return dict(pairs)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    if node is None or node.tag == "tag:yaml.org,2002:str":
        return node.value if node else {}
    return node.tag, node.value


def _prose(name: str, text: str) -> Iterator[Fact]:
    """The lines that have a word: of Markdown below their heading, of others with a variable by its name."""
    if name.endswith(".gitignore") and "\n!" in f"\n{text}":
        yield ("all", "patterns"), text  # one that is taken back by a later one: their order counts
    heading = ""
    for line in (line.strip() for line in LINE.findall(text)):
        variable = VARIABLE.fullmatch(line)
        if name.endswith(".md"):
            heading = line if line.startswith("#") else heading
            variable = None
        if re.search(r"\w", line):
            yield (("variable", variable[1]), line) if variable else ((heading, line), "")
