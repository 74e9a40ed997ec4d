"""Imports of the user's that an update has to mend.

Some were deleted with the stub that needed them, and a new stub in the same module needs them again. One names a module
that is in another place now.
"""

from __future__ import annotations

import ast
import re
import sys

from queue_template.names import unbound

LONGEST = 120
OLD_TESTING = "tests/tools/handlers.py"
"""Where `handler_of` was, in projects that were made before it was in `app.queue.testing`."""
OLD_IMPORT = "from tests.tools.handlers import "
TESTING = "app.queue.testing"


def with_missing_imports(text: str, render: str) -> str:
    """The handler module `text`, with what it uses, does not have, and the template's `render` of it imports.

    The result is in the order that ruff wants. Unchanged if either can't be parsed.
    """
    try:
        missing = unbound(ast.parse(text))
        made = ast.parse(render).body
    except SyntaxError:
        return text
    if "logger" in missing:
        missing.add("logging")
    for statement in made:
        if isinstance(statement, ast.ImportFrom) and statement.module:
            names = missing & {alias.name for alias in statement.names}
            text = _with_names(text, statement.module, names) if names else text
        elif isinstance(statement, ast.Import) and statement.names[0].name in missing - _bound(text):
            text = _with_statement(text, f"import {statement.names[0].name}")
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in missing:
            text = _behind_imports(text, ast.unparse(statement))
    return text


def with_new_place_of_testing(text: str) -> str:
    """A test's text that imports `handler_of` from where it is now, in the order that ruff wants."""
    text = re.sub(rf"^([ \t]*){re.escape(OLD_IMPORT)}", rf"\1from {TESTING} import ", text, flags=re.MULTILINE)
    try:
        imports = _imports(text)
    except SyntaxError:
        return text  # a conflict that waits for the user
    lines = text.splitlines(keepends=True)
    for own in imports:
        behind = [other.lineno - 1 for other in imports if other.lineno < own.lineno and _place(other) > _place(own)]
        if isinstance(own, ast.ImportFrom) and own.module == TESTING and behind:
            statement = lines[own.lineno - 1 : own.end_lineno]
            del lines[own.lineno - 1 : own.end_lineno]
            lines[min(behind) : min(behind)] = statement
            break
    return "".join(lines)


def _bound(text: str) -> set[str]:
    return {alias.asname or alias.name for found in _imports(text) for alias in found.names}


def _imports(text: str) -> list[ast.Import | ast.ImportFrom]:
    return [statement for statement in ast.parse(text).body if isinstance(statement, (ast.Import, ast.ImportFrom))]


def _with_names(text: str, module: str, names: set[str]) -> str:
    lines = text.splitlines(keepends=True)
    for found in _imports(text):
        last = found.end_lineno or found.lineno
        said = "#" in "".join(lines[found.lineno - 1 : last])  # a comment would be lost
        if isinstance(found, ast.ImportFrom) and found.module == module and not found.level and not said:
            have = {alias.name + (f" as {alias.asname}" if alias.asname else "") for alias in found.names}
            lines[found.lineno - 1 : last] = [_statement(module, have | names, several=last > found.lineno)]
            return "".join(lines)
    return _with_statement(text, _statement(module, names, several=False).rstrip())


def _statement(module: str, names: set[str], *, several: bool) -> str:
    ordered = sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name))
    line = f"from {module} import {', '.join(ordered)}\n"
    if not several and len(line) <= LONGEST:
        return line
    return f"from {module} import (\n{''.join(f'    {name},{chr(10)}' for name in ordered)})\n"


def _with_statement(text: str, statement: str) -> str:
    lines = text.splitlines(keepends=True)
    key = _place(ast.parse(statement).body[0])
    imports = _imports(text)
    behind = [found for found in imports if _place(found) < key]
    before = [found for found in imports if _place(found) > key]
    if behind:
        gap = "\n" if _place(behind[-1])[0] != key[0] else ""
        lines.insert(behind[-1].end_lineno or 0, f"{gap}{statement}\n")
    elif before:
        gap = "\n" if _place(before[0])[0] != key[0] else ""
        lines.insert(before[0].lineno - 1, f"{statement}\n{gap}")
    else:
        first = ast.parse(text).body[0]
        end = first.end_lineno or 0 if isinstance(first, ast.Expr) else 0
        lines.insert(end, f"\n{statement}\n")
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


def _behind_imports(text: str, statement: str) -> str:
    lines = text.splitlines(keepends=True)
    end = max((found.end_lineno or 0 for found in _imports(text)), default=0)
    while end < len(lines) and not lines[end].strip():
        del lines[end]
    lines.insert(end, f"\n{statement}\n\n\n")
    return "".join(lines)
