"""Bytes: a file keeps its encoding, its byte order mark and its line endings, and none of them is a conflict."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from queue_template.form import changed, fitted
from tests.conftest import Project
from tests.releases import RELEASES, publish
from tests.repository import commit, run
from tests.tool.script import HANDLER, STUB, fill_in, script, status

Form = Callable[[str, bytes], bytes]
MARK = b"\xef\xbb\xbf"
FILES = (HANDLER, "pyproject.toml", "queues.yaml", "app/main.py", "tests/handlers/test_orders.py", "README.md")


def test_the_templates_sides_get_the_form_of_the_users() -> None:
    assert fitted("a.txt", MARK + b"a\r\nmine\r\n", b"a\nb\n", b"a\nc\nd\n") == (
        MARK + b"a\r\nb\r\n",
        MARK + b"a\r\nc\r\nd\r\n",
    )
    assert fitted("a.txt", b"a\r\nb\nc\r\n", b"a\nb\nc\n", b"a\nb\nnew\nc\n") == (
        b"a\r\nb\nc\r\n",
        b"a\r\nb\nnew\r\nc\r\n",
    )
    assert fitted("a.txt", b"a\nb", b"a\nb\n", b"a\nb\nc\n") == (b"a\nb", b"a\nb\nc")


def test_a_module_has_the_encoding_that_it_names() -> None:
    ours = "# coding: latin-1\nx = 'é'\n".encode("latin-1")
    assert fitted("a.py", ours, b"y = 1\n", "y = 'é', '→'\n".encode()) == (b"y = 1\n", b"y = '\xe9', '\\u2192'\n")
    assert changed("a.py", ours, lambda text: f"{text}z = 'ü'\n") == ours + b"z = '\xfc'\n"


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"# coding: nothing\n", "é".encode("latin-1")])
def test_what_is_no_text_is_left_as_it_is(data: bytes) -> None:
    assert fitted("a.py", data, b"a\n", b"b\n") == (b"a\n", b"b\n")
    assert changed("a.py", data, str.upper) == data


def rewrite(project: Project, make: Form) -> dict[str, bytes]:
    """The user's files in another form."""
    for name in FILES:
        file = project.path / name
        file.write_bytes(make(name, file.read_bytes()))
    commit(project.path, "Another form")
    return {name: (project.path / name).read_bytes() for name in FILES}


def windows(_: str, data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def mixed(_: str, data: bytes) -> bytes:
    return b"".join(
        line.replace(b"\n", b"\r\n") if number % 3 else line
        for number, line in enumerate(data.splitlines(keepends=True))
    )


def marked(_: str, data: bytes) -> bytes:
    return MARK + data


def unended(_: str, data: bytes) -> bytes:
    return data.rstrip(b"\n")


def latin(name: str, data: bytes) -> bytes:
    return b"# -*- coding: latin-1 -*-\n" + data + b"# caf\xe9\n" if name.endswith(".py") else data


@pytest.mark.parametrize("form", [windows, mixed, marked, unended, latin])
def test_a_release_a_type_and_a_queue_come_into_files_of_any_form(
    project: Project, repository: Path, form: Form
) -> None:
    (project.path / ".gitattributes").write_text("* -text\n", encoding="utf-8")
    fill_in(project)
    before = rewrite(project, form)
    for release in (STUB, next(release for release in RELEASES if release.title == "dependencies")):
        publish(repository, release)
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    script(project, "add-type", "--yes", "orders", "order.paid")
    commit(project.path, "A type")
    script(project, "add-queue", "--yes", "invoices@memory: invoice.sent")
    commit(project.path, "A queue")
    for name, old in before.items():
        new = (project.path / name).read_bytes()
        assert new.startswith(MARK) == old.startswith(MARK), name
        if form is windows:
            assert new.count(b"\n") == new.count(b"\r\n"), name
        elif form is mixed:
            assert 0 < new.count(b"\r\n") < new.count(b"\n"), name
        else:
            assert b"\r" not in new, name
        assert new.endswith(b"\n") == old.endswith(b"\n"), name
        if name.endswith(".py"):
            ast.parse(new)
    handler = (project.path / HANDLER).read_bytes()
    assert b'logger.debug("mine")' in handler
    assert b"the message is finished" in handler
    assert b'"order.paid"' in handler
    assert (b"# caf\xe9\n" in handler) == (form is latin)
    assert b"anyio>=4" in (project.path / "pyproject.toml").read_bytes()
    tomllib.loads((project.path / "pyproject.toml").read_text(encoding="utf-8-sig"))
    if form is not marked:  # pytest can't read such a pyproject.toml, but uv can
        project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers")
    script(project, "remove-queue", "--yes", "invoices")
    assert b"invoices" not in (project.path / "queues.yaml").read_bytes()


@pytest.mark.parametrize("way", ["attributes", "autocrlf"])
def test_a_working_tree_with_crlf_keeps_it(project: Project, repository: Path, way: str) -> None:
    if way == "attributes":
        (project.path / ".gitattributes").write_text("* text=auto eol=crlf\n", encoding="utf-8")
    else:
        (project.path / ".gitattributes").unlink()
        run(project.path, "git", "config", "core.autocrlf", "true")
    fill_in(project)
    commit(project.path, "Work")
    for name in run(project.path, "git", "ls-files").splitlines():
        (project.path / name).unlink()
    run(project.path, "git", "checkout", "--", ".")
    assert b"\r\n" in (project.path / HANDLER).read_bytes()
    publish(repository, STUB)
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    script(project, "add-type", "--yes", "orders", "order.paid")
    handler = (project.path / HANDLER).read_bytes()
    assert b'"order.paid"' in handler
    assert b"the message is finished" in handler
    assert handler.count(b"\n") == handler.count(b"\r\n")
    assert not [line for line in status(project) if line[1] != " "]
    staged = run(project.path, "git", "show", f":{HANDLER}")
    assert "\r" not in staged
