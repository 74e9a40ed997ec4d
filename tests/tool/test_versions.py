"""Bots raise versions in the same files as the template: each version is decided by itself, and no line conflicts."""

from __future__ import annotations

import pytest

from queue_template.versions import merged_range, merged_version, with_own_versions

OLD, NEW, NEWEST = "a" * 40, "b" * 40, "c" * 40


@pytest.mark.parametrize(
    ("ours", "base", "theirs", "merged"),
    [
        ("7.2", "7.1", "7.1", "7.2"),
        ("7.1", "7.1", "7.2", "7.2"),
        ("7.1", "7.1", "7.0", "7.0"),  # what the template takes back
        ("7.10", "7.1", "7.9", "7.10"),
        ("7.2", "7.1", "8", "8"),
        ("6.9", "7.1", "7.2", "6.9"),  # somebody had a reason
        ("v7", "v6", "v7.1", "v7.1"),
        ("2.0rc1", "1.0", "2.0", "2.0"),
        (f"{NEWEST} # v8.0.0", f"{OLD} # v7.0.0", f"{NEW} # v7.1.0", f"{NEWEST} # v8.0.0"),
        (f"{NEW} # v7.1.0", f"{OLD} # v7.0.0", f"{NEWEST} # v8.0.0", f"{NEWEST} # v8.0.0"),
        (NEW, OLD, f"{NEWEST} # v8.0.0", NEW),  # nobody can say which one is newer
    ],
)
def test_the_higher_version_is_taken(ours: str, base: str, theirs: str, merged: str) -> None:
    assert merged_version(ours, base, theirs) == merged


@pytest.mark.parametrize(
    ("ours", "base", "theirs", "merged"),
    [
        (">=7.1,<10", ">=7.1,<9", ">=7.2,<9", ">=7.2,<10"),
        (">=7.3,<9", ">=7.1,<9", ">=7.2,<10", ">=7.3,<10"),
        (">=7.1,<10", ">=7.1,<9", ">=7.1,<11", ">=7.1,<10"),
        (">=9.1,<10", ">=7.1,<9", ">=7.2,<9", ">=9.1,<10"),
        (">=9.5", ">=7.1", ">=7.2,<9", ">=9.5"),  # nothing would be in both
        (">=7.1", ">=7.1,<9", ">=7.2,<10", ">=7.2"),
        (">=7.1,<8", ">=7.1", ">=7.2", ">=7.2,<8"),
        ("<9", ">=7.1,<9", ">=7.2,<9", ">=7.2,<9"),
        ("==1.3", "==1.1", "==1.2", "==1.3"),
        ("==7.4", ">=7.1,<9", ">=7.2,<9", "==7.4"),
        ("==7.1", ">=7.1,<9", ">=7.2,<9", None),
        (">=7.1,!=7.3", ">=7.1", ">=7.2", None),
        (">=0.38.1,<1", ">=0.38,<1", ">=0.38.0,<1", ">=0.38.1,<1"),
    ],
)
def test_a_range_is_merged_end_by_end(ours: str, base: str, theirs: str, merged: str | None) -> None:
    assert merged_range(ours, base, theirs) == merged


@pytest.mark.parametrize(
    ("name", "line", "versions"),
    [
        ("pyproject.toml", '    "redis>={}",                 # only with redis\n', ("7.2,<9", "7.1,<9", "7.3,<9")),
        ("pyproject.toml", 'required-version = ">={}"\n', ("0.10", "0.9", "0.11")),
        ("Dockerfile", "FROM python:{}-slim AS build\n", ("3.14", "3.13", "3.15")),
        ("Dockerfile", "COPY --from=ghcr.io/astral-sh/uv:{} /uv /bin/uv\n", ("0.12.11", "0.12.10", "0.13.0")),
        ("compose.yaml", "    image: rabbitmq:{}-management\n", ("4.2", "4.1", "4.3")),
        ("compose.yaml", f"    image: redis:{{}}@sha256:{'0' * 64}\n", ("8.3", "8.2", "8.4")),
        (
            ".github/workflows/ci.yml",
            "      - uses: actions/checkout@{}\n",
            (f"{NEW} # v8", f"{OLD} # v7", f"{NEWEST} # v9"),
        ),
        (".github/workflows/ci.yml", "      - uses: actions/checkout@{}\n", ("v8", "v7", "v9")),
        (".pre-commit-config.yaml", "    rev: {}\n", ("v0.15", "v0.14", "v0.16")),
        (
            ".pre-commit-config.yaml",
            "    rev: {}\n",
            (f"{NEW}  # frozen: v8", f"{OLD}  # frozen: v7", f"{NEWEST}  # frozen: v9"),
        ),
        (".devcontainer/devcontainer.json", '  "image": "mcr.microsoft.com/python:{}",\n', ("3.14", "3.13", "3.15")),
    ],
)
def test_a_line_that_both_raised_is_no_conflict(name: str, line: str, versions: tuple[str, str, str]) -> None:
    ours, base, theirs = (line.format(version) for version in versions)
    assert with_own_versions(name, ours, base, theirs) == (ours, theirs)
    assert with_own_versions(name, theirs, base, ours) == (theirs, theirs)
    assert with_own_versions(f"app/{name}", ours, base, theirs) == (base, theirs)


def test_all_lines_around_are_merged_as_ever() -> None:
    base = '# a\n    "redis>=7.1",     # kept\n    "nats>=2",\n# z\n'
    ours = base.replace("7.1", "7.3").replace("# z", "# mine")
    theirs = base.replace("7.1", "7.2").replace("# kept", "# a broker").replace("# a\n", "# b\n")
    assert with_own_versions("pyproject.toml", ours, base, theirs) == (
        base.replace("7.1", "7.3"),
        theirs.replace("7.2", "7.3"),
    )


@pytest.mark.parametrize(
    ("name", "line", "versions", "comment"),
    [
        ("compose.yaml", "    image: rabbitmq:{}-management", ("4.1", "4.1", "4.3"), "  # ops pins this"),
        ("compose.yaml", "    image: rabbitmq:{}-management", ("4.2", "4.1", "4.3"), "  # ops pins this"),
        ("pyproject.toml", '    "pytest>={}",', ("9.0", "9.0", "9.1"), "  # until #77"),
        ("pyproject.toml", '    "aio-pika>={}",', ("10.2", "10.2", "10.4"), "  # rabbitmq; >=10.3 leaks"),
        ("Dockerfile", "FROM python:{}-slim AS build", ("3.13", "3.13", "3.14"), "  # not python:3.15"),
    ],
)
def test_a_comment_of_the_users_stays_behind_the_new_version(
    name: str, line: str, versions: tuple[str, str, str], comment: str
) -> None:
    behind = "  # the next line\n"
    ours, base, theirs = (line.format(version) for version in versions)
    assert with_own_versions(name, f"{ours}{comment}\n{behind}", f"{base}\n{behind}", f"{theirs}\n{behind}") == (
        f"{ours}{comment}\n{behind}",
        f"{theirs}{comment}\n{behind}",
    )
    # And one that the user took away does not come back.
    assert with_own_versions(name, f"{ours}\n", f"{base}{comment}\n", f"{theirs}{comment}\n") == (
        f"{ours}\n",
        f"{theirs}\n",
    )


def test_a_last_line_that_is_not_ended_joins_no_other() -> None:
    base = '"a>=1",\n"redis>=7.1",\n'
    ours, theirs = base.replace("7.1", "7.3")[:-1], f'{base.replace("7.1", "7.2")}"z>=1",\n'
    assert with_own_versions("pyproject.toml", ours, base, theirs) == (f"{ours}\n", f'{ours}\n"z>=1",\n')
    dropped = '"a>=1",\n'
    assert with_own_versions("pyproject.toml", ours, base, dropped) == (f"{ours}\n", dropped)


@pytest.mark.parametrize(
    ("name", "changed", "base", "raised"),
    [
        ("pyproject.toml", '    "uvicorn[standard]>=0.38,<1",', '    "uvicorn>=0.38,<1",', '    "uvicorn>=0.44,<1",'),
        ("Dockerfile", "FROM python:3.13-alpine", "FROM python:3.13-slim", "FROM python:3.14-slim"),
        ("compose.yaml", "    image: acme/redis:8.2", "    image: redis:8.2", "    image: redis:8.4"),
    ],
)
def test_a_line_that_one_side_made_another_one_of_keeps_no_version_from_being_seen(
    name: str, changed: str, base: str, raised: str
) -> None:
    for ours, theirs in ((changed, raised), (raised, changed)):
        texts = [f"# above\n{line}\n# below\n" for line in (ours, base, theirs)]
        assert with_own_versions(name, *texts) == tuple(texts[1:])


def test_a_line_that_one_side_dropped_is_dropped() -> None:
    base, raised = '"a>=1",\n"redis>=7.1",\n', '"a>=1",\n"redis>=7.2",\n'
    assert with_own_versions("pyproject.toml", raised, base, '"a>=1",\n') == (raised, '"a>=1",\n')
    assert with_own_versions("pyproject.toml", '"a>=1",\n', base, raised) == (base, base)


def test_a_line_that_the_user_moved_is_not_taken_for_a_dropped_one() -> None:
    base = '"a>=1",\n"redis>=7.1",\n"y>=1",\n"z>=1",\n'
    theirs, moved = base.replace("7.1", "7.2"), '"a>=1",\n"y>=1",\n"z>=1",\n"redis>=7.1",\n'
    assert with_own_versions("pyproject.toml", moved, base, theirs) == (base, theirs)


@pytest.mark.parametrize(
    "line",
    [
        "timeout = {}\n",
        "# not redis>={}\n",
        "    # not redis>={}\n",
        '  - "127.0.0.1:{}:8000"\n',
        "  NATS_URL: nats://nats:{}\n",
    ],
)
def test_a_number_that_is_no_version_is_not_decided(line: str) -> None:
    ours, base, theirs = (line.format(number) for number in (2, 1, 3))
    for name in ("pyproject.toml", "compose.yaml"):
        assert with_own_versions(name, ours, base, theirs) == (base, theirs)
