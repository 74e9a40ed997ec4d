"""The answer to `queues`, and what is read from files without a library: queues.yaml and the CHANGELOG."""

from __future__ import annotations

import pytest

import queue_template_extension
from queue_template.answers import UNASKED, with_queue, with_type, without_queue
from queue_template.entries import entry, with_entry_of
from queue_template.git import TemplateError
from queue_template.releases import parse, version_of, without_secrets

QUEUES = "users: a, b; orders@memory!nodlq ; logs!dlq: c"
YAML = """queues:
  - name: users
    type: memory
    retry:
      max_attempts: 5

  # about orders
  - name: "orders"   # mine
    type: rabbitmq

    prefetch: 7

  - name: logs
    type: memory
consumer_threads: 4
"""
CHANGELOG = """# Changelog

## Unreleased

- later

## [1.0.0] - 2026-11-01

### Breaking

- Rename `a`.

### Fixed

- b

## 0.1.0

First.
"""


def test_queues_are_added_and_removed() -> None:
    assert with_queue("users: a; ", " orders: b ") == "users: a; orders: b"
    assert without_queue(QUEUES, "orders") == "users: a, b; logs!dlq: c"
    assert without_queue(QUEUES, "users") == "orders@memory!nodlq; logs!dlq: c"


def test_a_type_is_added_to_its_queue_and_the_example_of_an_untyped_one_stays() -> None:
    assert with_type(QUEUES, "users", "x.y") == "users: a, b, x.y; orders@memory!nodlq; logs!dlq: c"
    assert with_type(QUEUES, "orders", "x") == "users: a, b; orders@memory!nodlq: example, x; logs!dlq: c"


def test_the_template_and_the_tool_agree_on_what_nobody_is_asked_for() -> None:
    assert UNASKED == queue_template_extension.UNASKED


def test_what_can_not_be_done_says_why() -> None:
    with pytest.raises(TemplateError, match="no queue 'none' in the answers, only: users, orders, logs"):
        without_queue(QUEUES, "none")
    with pytest.raises(TemplateError, match="the only queue"):
        without_queue("users: a", "users")


def test_an_entry_is_found_with_what_the_user_wrote_in_it() -> None:
    assert entry(YAML, "orders") == '  - name: "orders"   # mine\n    type: rabbitmq\n\n    prefetch: 7\n'
    assert entry(YAML, "logs") == "  - name: logs\n    type: memory\n"
    assert entry(YAML, "order") == ""


def test_an_entry_is_set_back_and_nothing_else() -> None:
    source = "queues:\n- name: orders\n  type: rabbitmq\n"
    assert with_entry_of(source, YAML, "orders") == YAML.replace(
        '  - name: "orders"   # mine\n    type: rabbitmq\n\n    prefetch: 7\n', "- name: orders\n  type: rabbitmq\n"
    )
    assert with_entry_of(source, YAML, "users") == YAML


def test_a_changelog_is_read_by_releases() -> None:
    (new, old) = parse(CHANGELOG)
    assert (new.version, new.breaking) == ("1.0.0", "- Rename `a`.")
    assert "### Fixed" in new.text
    assert (old.version, old.breaking) == ("0.1.0", "")
    assert parse("nothing") == []


def test_releases_are_tags_of_three_numbers() -> None:
    assert version_of("v1.10.0") == (1, 10, 0)
    assert max(["v1.9.0", "v1.10.0"], key=lambda tag: version_of(tag) or (0, 0, 0)) == "v1.10.0"
    assert version_of("v1.0.0-rc1") is None


def test_no_token_of_a_url_is_shown() -> None:
    assert without_secrets("at https://me:token@example.org/x.git") == "at https://example.org/x.git"
    assert without_secrets("git@example.org:x.git") == "git@example.org:x.git"
