"""A template's address, in all the ways that git, cookiecutter and cruft understand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queue_template import launch
from queue_template.launch import address

COMMIT = "1" * 40


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("gh:org/queue-template", "https://github.com/org/queue-template.git"),
        ("gl:org/group/queue-template.git", "https://gitlab.com/org/group/queue-template.git"),
        ("bb:org/queue-template/", "https://bitbucket.org/org/queue-template.git"),
        ("git@example.org:org/queue-template.git", "ssh://git@example.org/org/queue-template.git"),
        ("example.org:/srv/queue-template", "ssh://example.org/srv/queue-template"),
        ("ssh://git@example.org:2222/org/queue-template", "ssh://git@example.org:2222/org/queue-template"),
        ("https://example.org/org/queue-template", "https://example.org/org/queue-template"),
        ("file:///srv/queue-template", "file:///srv/queue-template"),
        ("/srv/queue-template", "file:///srv/queue-template"),
        ("/srv/a b@c/queue-template", "file:///srv/a%20b%40c/queue-template"),
        ("../queue-template", "file:///projects/queue-template"),
        ("~/queue-template", "file:///home/me/queue-template"),
    ],
)
@pytest.mark.skipif(sys.platform == "win32", reason="its folders have other addresses")
def test_an_address_becomes_a_url_that_git_and_uv_both_read(
    text: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert address(text, Path("/projects/service")) == (url, {})


def test_a_token_is_given_to_git_in_its_environment_and_stands_in_no_argument(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []

    def called(command: list[str], *, env: dict[str, str], **_: Any) -> subprocess.CompletedProcess[str]:
        calls.append((command, env))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", called)
    monkeypatch.setenv("UV", "uv")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    for text in ("https://me:s%2Fecret@example.org:8443/x.git", "https://s%2Fecret@example.org:8443/x.git"):
        launch.run(text, tmp_path, COMMIT, ["status"])
        ((command, environment),) = calls
        assert f"git+https://example.org:8443/x.git@{COMMIT}" in command
        assert not any("ecret" in argument for argument in command)
        assert environment["GIT_CONFIG_COUNT"] == "2"
        assert environment["GIT_CONFIG_KEY_1"] == "http.https://example.org:8443/x.git.extraHeader"
        header = environment["GIT_CONFIG_VALUE_1"]
        assert header in ("Authorization: Basic bWU6cy9lY3JldA==", "Authorization: Basic cy9lY3JldDo=")
        calls.clear()


def test_a_token_that_git_has_already_is_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    url, given = address("https://me:secret@example.org/x.git", Path())
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert address("https://me:secret@example.org/x.git", Path()) == (url, {})
