"""Imports that a stub needs, and that the user had deleted from the module it lands in.

What the user has is not rewritten: names and lines are put in, where ruff wants them if the user's are in order.
"""

from __future__ import annotations

import ast
import sys
from itertools import takewhile

from queue_template.lines import OF_PYTHON
from queue_template.names import unbound

Import = ast.Import | ast.ImportFrom


def with_missing_imports(text: str, render: str) -> str:
    """The handler module `text`, with what it uses, does not have, and the template's `render` of it imports.

    Unchanged if either can't be parsed.
    """
    try:
        missing = unbound(ast.parse(text))
        made = ast.parse(render).body
    except (SyntaxError, ValueError):
        return text
    if "logger" in missing:
        missing.add("logging")
    for statement in made:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            for name in sorted(missing & {alias.name for alias in statement.names}):
                text = _with_name(text, statement.module, name)
        elif isinstance(statement, ast.Import) and statement.names[0].name in missing - _bound(text):
            text = _with_line(text, f"import {statement.names[0].name}")
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in missing:
            lines = OF_PYTHON.findall(text)
            lines.insert(_end(text), f"\n{ast.unparse(statement)}\n")
            text = "".join(lines)
    return text


def _bound(text: str) -> set[str]:
    found = [node for node in ast.parse(text).body if isinstance(node, Import)]
    return {alias.asname or alias.name for node in found for alias in node.names}


def _imports(text: str) -> list[Import]:
    """Those before all classes and functions, which may need them."""
    defined = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    head = takewhile(lambda node: not isinstance(node, defined), ast.parse(text).body)
    return [node for node in head if isinstance(node, Import)]


def _end(text: str) -> int:
    """How many lines there are up to the last import, or to the docstring."""
    module = ast.parse(text)
    head = module.body[:1] if ast.get_docstring(module) is not None else []
    return max((node.end_lineno or 0 for node in [*head, *_imports(text)]), default=0)


def _with_name(text: str, module: str, name: str) -> str:
    for node in _imports(text):
        if isinstance(node, ast.ImportFrom) and node.module == module and not node.level:
            return _with_alias(text, node, name)
    return _with_line(text, f"from {module} import {name}")


def _with_alias(text: str, node: ast.ImportFrom, name: str) -> str:
    """With a name more in an import, before the first that comes later."""
    lines = OF_PYTHON.findall(text)
    last = node.names[-1]
    later = next((alias for alias in node.names if _rank(alias.name) > _rank(name)), None)
    number, column = (later.lineno, later.col_offset) if later else (last.end_lineno or 0, last.end_col_offset or 0)
    before, behind = (part.decode() for part in _cut(lines[number - 1], column))
    margin = before[: len(before) - len(before.lstrip())]
    if later:
        added = f"{name}, " if before.strip() else f"{name},\n{margin}"
    elif behind.lstrip().startswith(",") and number != node.end_lineno:
        before, behind, added = before + behind, "", f"{margin}{name},\n"
    else:
        added = f", {name}"
    lines[number - 1] = f"{before}{added}{behind}"
    return "".join(lines)


def _cut(line: str, column: int) -> tuple[bytes, bytes]:
    """A line at a column of `ast`, which counts bytes."""
    return line.encode()[:column], line.encode()[column:]


def _rank(name: str) -> tuple[int, str]:
    """What ruff orders names by: constants, classes, all others."""
    return 0 if name.isupper() else 1 if name[0].isupper() else 2, name


def _with_line(text: str, statement: str) -> str:
    lines = OF_PYTHON.findall(text)
    place, imports = _place(ast.parse(statement).body[0]), _imports(text)
    before = [node for node in imports if _place(node) < place]
    if before:
        gap = "\n" if _place(before[-1])[0] != place[0] else ""
        lines.insert(before[-1].end_lineno or 0, f"{gap}{statement}\n")
    elif imports:
        gap = "\n" if _place(imports[0])[0] != place[0] else ""
        lines.insert(imports[0].lineno - 1, f"{statement}\n{gap}")
    else:
        lines.insert(_end(text), f"\n{statement}\n")
    return "".join(lines)


def _place(statement: ast.stmt) -> tuple[int, bool, str]:
    """Where ruff wants it: by section (future, standard library, others, this project), `import` first, by name."""
    if isinstance(statement, ast.ImportFrom):
        name = statement.module or ""
    else:
        name = statement.names[0].name if isinstance(statement, ast.Import) else ""
    root = name.partition(".")[0]
    sections = [root == "__future__", root in sys.stdlib_module_names, root not in ("app", "tests")]
    return sections.index(True) if True in sections else 3, isinstance(statement, ast.ImportFrom), name
