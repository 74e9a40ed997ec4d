"""What a combination of two sides' lines has to say: what each of them changed, and nothing besides."""

from __future__ import annotations

import pytest

from queue_template.facts import says_both

HEAD = "queues:\n  - name: one\n    type: nats\n  - name: two\n    type: nats\n"
MORE = HEAD.replace("    type", "    concurrency: 10\n    type")
ONE = HEAD.partition("  - name: two")[0]
RUFF = '[tool.ruff.lint.per-file-ignores]\n"a.py" = ["E"]\n'
MYPY = "[tool.mypy]\nstrict = true\n"


@pytest.mark.parametrize(
    ("name", "ours", "base", "theirs", "both"),
    [
        ("queues.yaml", ONE, HEAD, HEAD, ONE),
        ("queues.yaml", f"{HEAD}held: 5\n", HEAD, MORE, f"{MORE}held: 5\n"),
        ("queues.yaml", HEAD.replace("two", '"two"  # mine'), HEAD, MORE, MORE),
        ("queues.yaml", f"{HEAD}  - name: a\n", HEAD, f"{HEAD}  - name: b\n", f"{HEAD}  - name: b\n  - name: a\n"),
        ("pyproject.toml", f"{MYPY}pretty = true\n", MYPY, MYPY + RUFF, f"{MYPY}pretty = true\n{RUFF}"),
        ("pyproject.toml", 'a = ["x>=1", "y"]', 'a = ["x>=1"]', 'a = ["x>=2"]', 'a = ["y", "x>=2"]'),
        ("app/main.py", "import a\nx = 1\n", "x = 1\n", "x = 1\ndef f(): ...\n", "import a\nx = 1\ndef f(): ...\n"),
        ("app/main.py", "f(1)\nf()\n", "f()\n", "f()\nf(2)\n", "f(1)\nf()\nf(2)\n"),
        ("app/main.py", '"""a\nb\n"""\n', '"""a\nc\n"""\n', '"""a\nc\nd\n"""\n', '"""a\nb\nd\n"""\n'),
        (".env.example", "# A=1\nB=2\n", "# A=1\n", "# A=1\nC=3\n", "# A=1\nB=2\nC=3\n"),
        (".gitignore", "a\nb.log\n", "a\n", "a\n*.log\n", "a\nb.log\n*.log\n"),
        ("README.md", "# A\nx\n# B\n```\ny\n```\n", "# A\n# B\n", "# A\n# B\n```\nz\n```\n", "# A\nx\n# B\ny\nz\n"),
    ],
)
def test_both_changes_are_there(name: str, ours: str, base: str, theirs: str, both: str) -> None:
    assert says_both(name, ours, base, theirs, both)
    assert not says_both(name, ours, base, theirs, base) or ours == base == theirs


@pytest.mark.parametrize(
    ("name", "ours", "base", "theirs", "both"),
    [
        # In the place of what is gone.
        ("queues.yaml", ONE, HEAD, MORE, f"{ONE}    concurrency: 10\n"),
        ("pyproject.toml", MYPY, MYPY + RUFF, f'{MYPY}{RUFF}"b.py" = ["E"]\n', f'{MYPY}"b.py" = ["E"]\n'),
        (
            "app/main.py",
            "if a:\n  b\n",
            "if a:\n  b\nif c:\n  d\n",
            "if a:\n  b\nif c:\n  d\n  e\n",
            "if a:\n  b\n  e\n",
        ),
        ("README.md", "# A\nx\n", "# A\nx\n# B\ny\n", "# A\nx\n# B\ny\nz\n", "# A\nx\nz\n"),
        # Twice.
        ("queues.yaml", f"{HEAD}  - name: a\n", HEAD, f"{HEAD}  - name: a\n", f"{HEAD}  - name: a\n  - name: a\n"),
        ("queues.yaml", f"{HEAD}held: 5\n", HEAD, f"{HEAD}held: 6\n", f"{HEAD}held: 5\nheld: 6\n"),
        ("pyproject.toml", 'a = ["x", "y>1"]', 'a = ["x"]', 'a = ["x", "Y>2"]', 'a = ["x", "y>1", "Y>2"]'),
        ("app/main.py", "x\ndef f(): 1\n", "x\n", "x\ndef f(): 2\n", "x\ndef f(): 1\ndef f(): 2\n"),
        ("app/main.py", "x\nA = 1\n", "x\n", "x\nA = 2\n", "x\nA = 1\nA = 2\n"),
        ("app/main.py", "x\nimport a\n", "x\n", "x\nimport a\n", "x\nimport a\nimport a\n"),
        (".env.example", "A=1\nB=2\n", "A=1\n", "A=1\nB=3\n", "A=1\nB=2\nB=3\n"),
        # In an order that takes back what one of them says.
        (".gitignore", "a\n!b.log\n", "a\n", "a\n*.log\n", "a\n!b.log\n*.log\n"),
        # Missing, or never said by anyone.
        ("app/main.py", "from a import b as c\n", "from a import b\n", "from d import b\n", "from a import b as c\n"),
        ("app/main.py", "x\ny\n", "x\n", "x\n", "x\ny\nz\n"),
        # No text that can be read.
        ("app/main.py", "(", "(", "(", "("),
        ("pyproject.toml", "a = 1\na = 1\n", "", "", "a = 1\na = 1\n"),
        ("queues.yaml", "a: &x [*x]\n", "", "", "a: &x [*x]\n"),
        ("queues.yaml", "[", "", "", "["),
    ],
)
def test_what_one_side_said_is_missing_or_elsewhere_or_there_twice(
    name: str, ours: str, base: str, theirs: str, both: str
) -> None:
    assert not says_both(name, ours, base, theirs, both)


def test_an_import_that_is_completed_later_may_be_missing_and_no_other_change() -> None:
    base, ours = "from a import b\nx\n", "x\n"
    for theirs, completed in (
        ("from a import b, c\nx\n", True),
        ("from a import d\nx\n", True),  # the user has no b any more
        ("import c\nfrom a import b\nx\n", False),  # it may be imported for what it does
        ("from a import b\nx\ny\n", False),
    ):
        assert says_both("m.py", ours, base, theirs, ours, completed=True) is completed
        assert not says_both("m.py", ours, base, theirs, ours)
    theirs = "from a import d\nx\n"
    assert not says_both("m.py", "from a import b  # v1\nx\n", base, theirs, "from a import b\nx\n", completed=True)
