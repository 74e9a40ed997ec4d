"""`python -m core_tests.simulator.mutate`: change the consuming side in one place after another, and see who notices.

Each mutant is written into a copy of the tree. It is killed by a unit test, or by a seed of the simulator; what nobody
notices is printed, for it is a hole in the tests, or changes nothing that matters. `mutants.py` has what no tool finds:
whole rules that are broken.

policy.py pause.py    only these files
--seeds 60            seeds for each mutant that the unit tests let live
--every 5             only each fifth mutant
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

ROOT = Path(__file__).parents[2]
SERVICE = "{{cookiecutter.project_slug}}"
QUEUE = Path(SERVICE, "app/queue")
FIRST = ("policy.py", *sorted(path.name for path in (ROOT / QUEUE / "consume").glob("[a-z]*.py")))
UNIT = (
    "admission",
    "attempt",
    "deadlines",
    "held",
    "in_flight",
    "intake",
    "pause",
    "policy",
    "quarantine",
    "redeliveries",
    "settlement",
    "worker",
)
PATIENCE = 120.0
"""Seconds after which a mutant that makes everything hang counts as noticed."""
OTHER: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
}


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Each with its line, what was changed, and the source."""
    tree = ast.parse(source)
    for number, node in enumerate(ast.walk(tree)):
        for choice in range(len(_changes(node))):
            changed = deepcopy(tree)
            there = next(one for at, one in enumerate(ast.walk(changed)) if at == number)
            line = getattr(there, "lineno", 0)
            before = "" if isinstance(there, ast.Module) else ast.unparse(there).splitlines()[0]
            what = _changes(there)[choice]
            _CHANGE[what.split(":")[0]](there, what)
            yield line, f"{what}: {before}", ast.unparse(ast.fix_missing_locations(changed))


def _changes(node: ast.AST) -> list[str]:
    """The names of what may be changed in a node itself."""
    found: list[str] = []
    if isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp | ast.AugAssign):
        op = node.ops[0] if isinstance(node, ast.Compare) else node.op
        found += ["operator"] * (type(op) in OTHER)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        found.append("no not")
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        found.append("constant")
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list):
            found += [f"drop:{name}:{at}" for at, one in enumerate(block) if _can_go(one)]
            found += [
                f"swap:{name}:{at}"
                for at in range(len(block) - 1)
                if _awaits(block[at]) and isinstance(block[at + 1], ast.Expr | ast.Assign)
            ]
    return found


def _can_go(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant) and "logger." not in ast.unparse(statement)
    return isinstance(statement, ast.AugAssign | ast.Delete | ast.Raise | ast.Break | ast.Continue)


def _awaits(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Await)


def _operator(node: ast.AST, _: str) -> None:
    if isinstance(node, ast.Compare):
        node.ops[0] = OTHER[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp | ast.BinOp | ast.AugAssign):
        node.op = OTHER[type(node.op)]()


def _no_not(node: ast.AST, _: str) -> None:
    if isinstance(node, ast.UnaryOp):
        node.op, node.operand = ast.Not(), ast.UnaryOp(ast.Not(), node.operand)


def _constant(node: ast.AST, _: str) -> None:
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, bool | int | float)
        node.value = not node.value if isinstance(node.value, bool) else node.value + 1


def _drop(node: ast.AST, what: str) -> None:
    _, name, at = what.split(":")
    getattr(node, name)[int(at)] = ast.Pass()


def _swap(node: ast.AST, what: str) -> None:
    _, name, text = what.split(":")
    block, at = getattr(node, name), int(text)
    block[at], block[at + 1] = block[at + 1], block[at]


_CHANGE = {"operator": _operator, "no not": _no_not, "constant": _constant, "drop": _drop, "swap": _swap}


def noticed_by(tree: Path, stem: str, seeds: int) -> str | None:
    """Who notices that this tree has something wrong; None if nobody does."""
    own = [f"core_tests/unit/test_{name}.py" for name in UNIT if name == stem]
    others = [f"core_tests/unit/test_{name}.py" for name in UNIT if name != stem]
    pytest = ["-m", "pytest", "-c", "core_tests/pytest.ini", "-p", "no:cacheprovider", "-q", "-x", "--timeout", "20"]
    steps = {
        "its unit test": [*pytest, *own] if own else [],
        "a unit test": [*pytest, *others, "core_tests/service/test_quarantine.py"],
        "a seed": ["-m", "core_tests.simulator", "--seeds", f"0-{seeds - 1}", "--jobs", "1"] if seeds else [],
    }
    for who, command in steps.items():
        if command and not _passes(tree, command):
            return who
    return None


def _passes(tree: Path, command: list[str]) -> bool:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *command], cwd=tree, env=environment, capture_output=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def main() -> int:
    """What the command line says."""
    parser = argparse.ArgumentParser(prog="python -m core_tests.simulator.mutate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("files", nargs="*", default=FIRST)
    parser.add_argument("--seeds", type=int, default=60)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    began, counts = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        for part in ("core_tests", SERVICE):
            shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
        for name in args.files:
            path = tree / QUEUE / ("" if name == "policy.py" else "consume") / name
            source = path.read_text(encoding="utf-8")
            for line, what, mutant in list(mutants(source))[:: args.every]:
                path.write_text(mutant, encoding="utf-8")
                who = noticed_by(tree, path.stem, args.seeds)
                counts[who or "nobody"] += 1
                if who is None:
                    print(f"{name}:{line}: {what}", flush=True)
            path.write_text(source, encoding="utf-8")
            print(f"{name}: {dict(counts)}, {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
