"""A handler that grew: which class handles a queue, wherever the user has put it, and a stub that is put into it.

Everything here is text by name: of the modules in `app/queue/handlers/` and in `tests/`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from queue_template.lines import OF_PYTHON

FOLDER = "app/queue/handlers/"
Sources = Mapping[str, str]
Added = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Home:
    """The class that handles a queue, and its module."""

    name: str
    module: ast.Module
    node: ast.ClassDef

    def types(self) -> list[str]:
        """The message types that it has a method for."""
        return [kind_of(node) for node in self.node.body if is_method(node)]


def parsed(text: str) -> ast.Module | None:
    """The module; None for what is no Python, a conflict that waits for the user among it."""
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what is nested too deep for Python
        return None


def homes(sources: Sources) -> dict[str, list[Home]]:
    """The classes that handle each queue: found as `register_handlers.py` finds them, without running anything."""
    found: dict[str, list[Home]] = {}
    for name, text in sorted(sources.items()):
        stem = name.removeprefix(FOLDER).removesuffix(".py").split("/")
        queue = stem[0]
        if not name.startswith(FOLDER) or queue.startswith("_") or queue == "register_handlers":
            continue
        if stem[1:] not in ([], ["__init__"]) and not _is_shown(sources, stem):
            continue
        module = parsed(text)
        for node in module.body if module else []:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Handler") and not node.name.startswith("_"):
                assert module is not None
                found.setdefault(_queue(node, module) or queue, []).append(Home(name, module, node))
    return found


def _is_shown(sources: Sources, stem: list[str]) -> bool:
    """Whether a package imports from this module of its own, so that its class is one of the package."""
    package = parsed(sources.get(f"{FOLDER}{stem[0]}/__init__.py", ""))
    inside, full = ".".join(stem[1:]), ".".join([*FOLDER.split("/")[:-1], *stem])
    return any(
        isinstance(node, ast.ImportFrom) and (node.module == inside if node.level == 1 else node.module == full)
        for node in (package.body if package else [])
    )


def _queue(node: ast.ClassDef, module: ast.Module) -> str | None:
    """What the attribute `queue` of a class says: a text, or the name of one in its module."""
    given = _assigned(node.body).get("queue")
    if isinstance(given, ast.Name):
        given = _assigned(module.body).get(given.id)
    return given.value if isinstance(given, ast.Constant) and isinstance(given.value, str) else None


def _assigned(body: list[ast.stmt]) -> dict[str, ast.expr | None]:
    single = [node for node in body if isinstance(node, ast.Assign) and len(node.targets) == 1]
    found: dict[str, ast.expr | None] = {ast.unparse(node.targets[0]): node.value for node in single}
    return found | {ast.unparse(node.target): node.value for node in body if isinstance(node, ast.AnnAssign)}


def is_method(node: ast.AST) -> bool:
    """Whether it handles a message type."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_")


def kind_of(node: ast.AST) -> str:
    """The message type of a method: its name, or what its decorator says."""
    assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith("message_type"):
            for argument in decorator.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    return argument.value
    return node.name


def additions(old: str, new: str) -> tuple[list[Added], list[Added]]:
    """What the new stub has more than the old one: classes and functions of the module, and methods of its handler."""
    before, after = ast.parse(old), ast.parse(new)
    names = {node.name for node in _defined(before.body)}
    there = {kind_of(method) for node in _defined(before.body) for method in _methods(node)}
    added = [node for node in _defined(after.body) if node.name not in names]
    methods = [method for node in _defined(after.body) if node.name in names for method in _methods(node)]
    return added, [method for method in methods if kind_of(method) not in there]


def _defined(body: list[ast.stmt]) -> Iterator[Added]:
    return (node for node in body if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)))


def _methods(node: ast.AST) -> list[Added]:
    return [method for method in _defined(node.body) if is_method(method)] if isinstance(node, ast.ClassDef) else []


def only_adds(old: str, new: str) -> bool:
    """Whether the new stub differs from the old one in what it has more, and in prose: no code of it is changed."""
    added = {node.name for nodes in additions(old, new) for node in nodes}
    before, after = ast.parse(old), ast.parse(new)
    if not _imported(before) <= _imported(after):
        return False
    return _without(before, added) == _without(after, added)


def _imported(module: ast.Module) -> set[str]:
    return {
        f"{getattr(node, 'module', '')} {alias.name}"
        for node in module.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }


def _without(module: ast.Module, added: set[str]) -> str:
    """The code without some definitions, without imports and without prose."""
    for node in ast.walk(module):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            body = [found for found in node.body if not isinstance(found, (ast.Import, ast.ImportFrom))]
            body = [found for found in body if getattr(found, "name", None) not in added]
            node.body = [
                found for found in body if not (isinstance(found, ast.Expr) and isinstance(found.value, ast.Constant))
            ]
    return ast.dump(module)


def lacks(home: Home, old: str, new: str) -> list[str]:
    """The message types that the new stub has more, and that the class has no method for."""
    return [kind for kind in map(kind_of, additions(old, new)[1]) if kind not in home.types()]


def with_stub(text: str, home: Home, old: str, new: str) -> str | None:
    """The module with what the new stub has more. None if there is no place for it."""
    classes, methods = additions(old, new)
    lines = OF_PYTHON.findall(text)
    first, last = home.node.body[0], home.node.body[-1]
    if first.lineno == home.node.lineno or not lines[-1].endswith("\n"):
        return None
    margin = lines[first.lineno - 1][: first.col_offset]
    there = set(home.types())
    wanted = [method for method in methods if kind_of(method) not in there]
    end = last.end_lineno or last.lineno
    lines[end:end] = [f"\n{_indented(segment(new, method), margin)}" for method in wanted]
    start = min([home.node.lineno, *(decorator.lineno for decorator in home.node.decorator_list)]) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1  # what is said of the class
    models = [node for node in classes if node.name not in names_in(home.module)]
    lines[start:start] = [f"{segment(new, model)}\n\n" for model in models]
    return "".join(lines)


def names_in(module: ast.Module) -> set[str]:
    """What a module defines and imports."""
    imported = [node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return {node.name for node in _defined(module.body)} | {
        alias.asname or alias.name for node in imported for alias in node.names
    }


def with_functions(text: str, old: str, new: str) -> str:
    """A module of tests with the functions that the new stub has more, behind all that it has."""
    module = parsed(text)
    there = names_in(module) if module else set()
    wanted = [segment(new, node) for node in additions(old, new)[0] if node.name not in there]
    return "".join([text.rstrip("\n"), "\n", *(f"\n\n{found}" for found in wanted)]) if wanted else text


def segment(text: str, node: Added) -> str:
    """The lines of a definition, its decorators among them."""
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    return "".join(OF_PYTHON.findall(text)[first - 1 : node.end_lineno])


def _indented(lines: str, margin: str) -> str:
    """A stub's lines, whose margin is four blanks, with another one."""
    if margin == "    ":
        return lines
    return "".join(
        margin * ((len(line) - len(line.lstrip(" "))) // 4) + line.lstrip(" ") for line in OF_PYTHON.findall(lines)
    )


def stub_text(old: str, new: str) -> str:
    """What the new stub has more, to be read: for a person who has to put it where it belongs."""
    classes, methods = additions(old, new)
    imports = [ast.unparse(node) for node in ast.parse(new).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return "\n\n".join(["\n".join(imports), *(segment(new, node).rstrip("\n") for node in [*classes, *methods])])
