"""Variables in the file, and the role."""

from __future__ import annotations

import pytest

from app.queue.errors import ConfigError
from app.queue.run.process import Role, role
from app.queue.settings.document import interpolate


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("${SET}", "value"),
        ("a ${SET} b ${SET}", "a value b value"),
        ("${SET:-other}", "value"),
        ("${UNSET:-other}", "other"),
        ("${UNSET:-}", ""),
        ("${UNSET:-a:-b}", "a:-b"),
        ("${UNSET:-amqp://u:p@h:5672/v}", "amqp://u:p@h:5672/v"),
        ("${EMPTY}", ""),
        ("${EMPTY:-other}", "other"),
        ("$${SET}", "${SET}"),
        ("$${", "${"),
        ("$${SET} ${SET}", "${SET} value"),
        ("$SET and $5", "$SET and $5"),
        ("cost: 5$", "cost: 5$"),
        ("}{", "}{"),
    ],
)
def test_a_text_is_filled_in_as_a_shell_would(monkeypatch: pytest.MonkeyPatch, text: str, result: str) -> None:
    monkeypatch.setenv("SET", "value")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("UNSET", raising=False)
    assert interpolate(text, "here") == result


@pytest.mark.parametrize(
    "value", ["{a: 1}", "[1, 2]", "true", "null", "12", "- a\n- b", "# no comment", "a: b", "'", '"', "${OTHER}", "$${"]
)
def test_what_was_filled_in_is_text_and_is_never_parsed_again(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VALUE", value)
    monkeypatch.setenv("OTHER", "wrong")
    assert interpolate({"key": ["${VALUE}"]}, "here") == {"key": [value]}


@pytest.mark.parametrize("value", [5, 1.5, True, None])
def test_what_is_no_text_stays_as_it_is(value: object) -> None:
    assert interpolate({"key": value}, "here") == {"key": value}


def test_keys_are_not_filled_in() -> None:
    assert interpolate({"${UNSET}": 1}, "here") == {"${UNSET}": 1}


def test_a_missing_variable_names_the_place_the_whole_path_of_the_key_and_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("UNSET", raising=False)
    with pytest.raises(ConfigError) as caught:
        interpolate({"outer": {"inner": ["${UNSET}"]}}, "q.yaml")
    assert str(caught.value).startswith("q.yaml, key 'outer', key 'inner': environment variable UNSET is not set")


@pytest.mark.parametrize("text", ["${", "${}", "${9A}", "${a-b}", "${SET", "${SET-default}", "${ SET }"])
def test_a_variable_that_is_written_wrong_is_an_error_that_shows_how(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("SET", "value")
    with pytest.raises(ConfigError, match=r"here: a variable is written \$\{NAME\} or \$\{NAME:-default\}"):
        interpolate(text, "here")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, Role.ALL), ("", Role.ALL), ("all", Role.ALL), ("api", Role.API), ("worker", Role.WORKER)],
)
def test_the_role_is_all_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, value: str | None, expected: Role
) -> None:
    if value is not None:
        monkeypatch.setenv("QUEUE_ROLE", value)
    assert role() is expected


def test_a_role_that_is_not_there_is_an_error_that_names_the_variable_and_the_roles(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QUEUE_ROLE", "consumer")
    with pytest.raises(ConfigError, match="environment variable QUEUE_ROLE: must be one of all, api, worker"):
        role()
