"""A stub that is new, where the user has a package of its name: it goes into the package, which would hide a module."""

from __future__ import annotations

import ast
from collections.abc import Collection

from queue_template.handlers import FOLDER, homes, parsed
from queue_template.lines import OF_PYTHON

INIT = "__init__.py"


def put_into(package: str, queue: str, stub: str, there: Collection[str], init: str) -> dict[str, str] | None:
    """The modules that have the stub in a package, by name.

    Args:
        package: the package's folder, ending in '/'.
        queue: the name of the queue, and of the package.
        stub: the module that the template would write.
        there: the names of all modules there are.
        init: the text of the package's `__init__.py`.

    Returns the stub as a module of the package, and the `__init__.py` that imports its class. None if that is no
    Python, or if the user has modules of all names that the stub may get.
    """
    module = parsed(init)
    names = [f"{package}{name}.py" for name in ("handler", f"{queue}_handler", f"{queue}_stub")]
    name = next((one for one in names if one not in there), None)
    if module is None or name is None:
        return None
    ((found, *_),) = homes({f"{FOLDER}{queue}.py": stub}).values()
    where = name.removesuffix(".py").replace("/", ".")
    line = f"from {where} import {found.node.name} as {found.node.name}\n"
    return {name: stub, f"{package}{INIT}": _with_import(init, module, line)}


def _with_import(text: str, module: ast.Module, line: str) -> str:
    """The text with one import more, behind the last one that begins a line, or the docstring, or all there is."""
    lines = OF_PYTHON.findall(text)
    imports = [node for node in module.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    said = [node for node in module.body[:1] if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    at = max((node.end_lineno or 0 for node in [*imports, *said]), default=len(lines))
    if at and not lines[at - 1].endswith(("\n", "\r")):
        lines[at - 1] += "\n"
    lines[at:at] = [line] if imports or not at else ["\n", line]
    return "".join(lines)
