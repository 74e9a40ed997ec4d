"""Names that a module uses and nothing in it binds: what makes a merged module fail when it is imported or called."""

from __future__ import annotations

import ast
import builtins

Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
KNOWN = {*dir(builtins), "__file__", "__name__", "__path__", "__class__"}


def unbound(module: ast.Module) -> set[str]:
    """The names that are read where neither the module nor a function around binds them. None after `import *`."""
    bound = _bound(module)
    if "*" in bound:
        return set()
    found: set[str] = set()
    left: list[tuple[ast.AST, set[str]]] = [(module, bound | KNOWN)]
    while left:  # and no recursion: an expression of 1500 terms is as deep
        node, bound = left.pop()
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Load) and child.id not in bound:
                found.add(child.id)
            inside = bound | _bound(child) if isinstance(child, (Scope, ast.ClassDef)) else bound
            left.append((child, inside))
    return found


def _bound(scope: ast.AST) -> set[str]:
    """What is bound in a scope. A comprehension is taken for a part of the scope that it is in."""
    bound: set[str] = set()
    nodes = list(ast.iter_child_nodes(scope))
    for node in nodes:
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            bound.add(node.id)
        elif isinstance(node, ast.alias):
            bound.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            bound.add(node.name)
        elif isinstance(node, ast.MatchMapping) and node.rest:
            bound.add(node.rest)
        elif isinstance(node, ast.Global):
            bound.update(node.names)
        elif type(node).__name__ in ("TypeVar", "ParamSpec", "TypeVarTuple"):
            bound.add(getattr(node, "name"))  # noqa: B009 - Python 3.12 has them
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            bound.add(node.name)
            nodes += [found for found in ast.walk(node) if isinstance(found, ast.Global)]
        elif not isinstance(node, ast.Lambda):
            nodes += ast.iter_child_nodes(node)
    return bound
