"""Which conflicts are none: one side only added or removed lines beside what the other side changed."""

from __future__ import annotations

import pytest

from queue_template.mend import combined, is_shared, mended

A, B, X, Y = "a\n", "b\n", "x\n", "y\n"


def conflict(ours: list[str], base: list[str], theirs: list[str]) -> str:
    marks = ["<" * 7 + " HEAD\n", "|" * 7 + " parent\n", "=" * 7 + "\n", ">" * 7 + " new\n"]
    return "".join([marks[0], *ours, marks[1], *base, marks[2], *theirs, marks[3]])


@pytest.mark.parametrize(
    ("ours", "base", "theirs", "both"),
    [
        ([X], [], [Y], [X, Y]),
        ([X], [A], [A, Y], [X, Y]),
        ([X], [A], [Y, A], [Y, X]),
        ([A, X], [A], [Y], [Y, X]),
        ([X, A], [A], [Y], [X, Y]),
        ([X, B], [A, B], [A], [X]),
        ([A, X], [A, B], [B], [X]),
        ([A], [A, B], [Y, B], [Y]),
        ([], [A], [A, Y], [Y]),
        ([X, A, B, Y], [A, B], [], [X, Y]),
        ([], [A], [X, A, Y], [X, Y]),
    ],
)
def test_a_change_at_one_end_goes_with_any_other(
    ours: list[str], base: list[str], theirs: list[str], both: list[str]
) -> None:
    assert combined(ours, base, theirs) == both


@pytest.mark.parametrize(
    ("ours", "base", "theirs"),
    [([X], [A], [Y]), ([X, B], [A, B], [Y, B, A]), ([X], [A, B], [A]), ([X, X], [A, B], [Y, Y])],
)
def test_changes_of_the_same_lines_are_a_conflict(ours: list[str], base: list[str], theirs: list[str]) -> None:
    assert combined(ours, base, theirs) is None


def test_only_the_hunks_that_can_be_are_resolved() -> None:
    unresolved = conflict([X], [A], [Y])
    text = "head\n" + conflict([X], [], [Y]) + "between\n" + unresolved + "tail\n"
    assert mended(".gitignore", text) == ("head\nx\ny\nbetween\n" + unresolved + "tail\n", 1)


def test_imports_that_the_template_has_more_among_deleted_ones_are_left_to_be_completed() -> None:
    base = ["from a import (\n", "    b,\n", ")\n", "\n", X]
    theirs = ["from a import (\n", "    b,\n", "    c,\n", ")\n", "\n", X]
    for name in ("app/queue/handlers/orders.py", "tests/handlers/test_orders.py"):
        assert mended(name, conflict([], base, theirs)) == ("", 0)
        assert mended(name, conflict([], base, [*theirs[:-1], Y]))[1] == 1
        assert mended(name, conflict([], base, ["import d\n", *theirs]))[1] == 1
    for name in ("app/main.py", "queues.yaml"):  # where nothing completes them
        assert mended(name, conflict([], base, theirs))[1] == 1


@pytest.mark.parametrize("name", ["app/main.py", "app/queue/handlers/orders.py", "tests/handlers/test_orders.py"])
@pytest.mark.parametrize(
    ("head", "ours", "base", "theirs"),
    [
        (
            "",
            ["from app.queue.api import publish_failed as failed\n"],
            ["from app.queue.api import publish_failed\n"],
            ["from app.queue.http import publish_failed\n"],
        ),
        ("from app import (\n", ["    api,  # v1\n", ")\n"], ["    api,\n", ")\n"], ["    metrics,\n", ")\n"]),
        ("ALL = [\n", ["    api,  # v1\n", "]\n"], ["    api,\n", "]\n"], ["    metrics,\n", "]\n"]),
    ],
)
def test_a_module_or_a_name_that_the_template_changed_is_no_import_to_be_completed(
    name: str, head: str, ours: list[str], base: list[str], theirs: list[str]
) -> None:
    text = head + conflict(ours, base, theirs)
    assert mended(name, text) == (text, 1)


RUFF = ["[tool.ruff.lint.per-file-ignores]\n", '"a.py" = ["E"]\n']
RETRY = ["  - name: two\n", "    type: nats\n"]


@pytest.mark.parametrize(
    ("name", "head", "base", "added"),
    [
        ("pyproject.toml", "[tool.mypy]\nstrict = true\n", RUFF, ['"b.py" = ["E"]\n']),
        ("queues.yaml", "queues:\n  - name: one\n    concurrency: 10\n", RETRY, ["    concurrency: 10\n"]),
        ("queues.yaml", "queues:\n  - name: one\n    type: nats\n", RETRY, ["    concurrency: 10\n"]),
        ("app/main.py", "def one() -> None:\n    x()\n", ["def two() -> None:\n", "    x()\n"], ["    y()\n"]),
        ("README.md", "# One\n", ["# Two\n", "It does.\n"], ["More of it.\n"]),
    ],
)
def test_what_the_template_adds_to_what_the_user_deleted_lands_nowhere_else(
    name: str, head: str, base: list[str], added: list[str]
) -> None:
    text = head + conflict([], base, [*base, *added])
    assert mended(name, text) == (text, 1)


def test_one_hunk_that_can_not_be_keeps_no_other_from_being_resolved() -> None:
    base = "[tool.mypy]\nstrict = true\n"
    unresolved = conflict([], RUFF, [*RUFF, '"b.py" = ["E"]\n'])
    text = base + conflict(["pretty = true\n"], [], ["local_partial_types = true\n"]) + unresolved
    assert mended("pyproject.toml", text) == (f"{base}pretty = true\nlocal_partial_types = true\n{unresolved}", 1)


@pytest.mark.parametrize(
    ("name", "ours", "theirs"),
    [("app/main.py", "a = (\n", "b = 1\n"), ("pyproject.toml", "[a]\n", "[a]\n")],
)
def test_a_result_that_can_not_be_read_is_not_taken(name: str, ours: str, theirs: str) -> None:
    text = conflict([ours], [], [theirs])
    assert mended(name, text) == (text, 1)


def test_only_files_that_both_sides_write_are_mended() -> None:
    shared = ("queues.yaml", "app/main.py", "app/queue/handlers/orders.py", "tests/handlers/test_orders.py")
    assert all(is_shared(name) for name in shared)
    assert not any(is_shared(name) for name in ("app/queue/policy.py", "app/queue/providers/memory/broker.py"))


ENTRY = ["  - name: new\n", "    type: memory\n"]
OLD = ["  - name: old\n", "    type: memory\n"]
DRAIN = ["# how it ends\n", "drain:\n", "  delay: 1\n"]


@pytest.mark.parametrize(
    ("ours", "base", "theirs"),
    [
        (DRAIN, [], ENTRY),
        (["\n", *DRAIN], [], ENTRY),
        ([OLD[0], "    type: nats\n", *DRAIN], OLD, [*OLD, *ENTRY]),
        (["    prefetch: 5\n", *DRAIN], [], ENTRY),
    ],
)
def test_an_entry_is_added_to_the_queues_whatever_key_the_user_has_behind_them(
    ours: list[str], base: list[str], theirs: list[str]
) -> None:
    head = "queues:\n" + ("" if base else "".join(OLD))
    text, left = mended("queues.yaml", head + conflict(ours, base, theirs))
    assert left == 0
    before, _, behind = text.partition("# how it ends\ndrain:\n")
    assert "".join(ENTRY) in before
    assert behind == "  delay: 1\n"


def test_an_entry_that_would_be_no_queue_is_a_conflict() -> None:
    head = "queues: [{name: old, type: memory}]\n"
    assert mended("queues.yaml", head + conflict(["  # mine\n"], [], ENTRY))[1] == 1


METHOD = ["\n", "    async def new(self) -> None:\n", "        pass\n"]
HELPER = ["\n", "\n", "def helper() -> int:\n", "    return 1\n"]


@pytest.mark.parametrize("behind", [HELPER, ["\n", "\n", "class Other:\n", "    x = 1\n"], ["\n", "\n", "MINE = 1\n"]])
def test_a_method_is_added_to_its_class_whatever_the_user_has_behind_it(behind: list[str]) -> None:
    head = "class Handler:\n    async def old(self) -> None:\n        pass\n"
    text, left = mended("app/queue/handlers/orders.py", head + conflict(behind, [], METHOD))
    assert (text, left) == (head + "".join(METHOD) + "".join(behind), 0)
    base = ["        pass\n"]
    text, left = mended(
        "app/queue/handlers/orders.py", head[:-13] + conflict(["        x = 1\n", *behind], base, base + METHOD)
    )
    assert (text, left) == (head[:-13] + "        x = 1\n" + "".join(METHOD) + "".join(behind), 0)


def test_a_test_is_added_behind_what_the_user_has_at_the_end() -> None:
    added = ["\n", "\n", "async def test_new() -> None:\n", "    pass\n"]
    text, left = mended("tests/handlers/test_orders.py", "x = 1\n" + conflict(HELPER, [], added))
    assert (text, left) == ("x = 1\n" + "".join(HELPER) + "".join(added), 0)
