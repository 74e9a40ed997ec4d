"""What comes out of the template."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from tests.conftest import QUICK, ROOT, Bake, Project

SERVICE = ROOT / "{{cookiecutter.project_slug}}"
BROKERS = ("rabbitmq", "redis", "nats")


def service_files(template: Path) -> set[str]:
    folder = template / SERVICE.name
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_the_default_answers_make_exactly_these_files(template: Path, default_project: Project) -> None:
    made = {"app/queue/handlers/user_channel.py", "tests/handlers/test_user_channel.py"}
    others = {name for name in service_files(template) if any(broker in name for broker in BROKERS[1:])}
    assert default_project.files() == (service_files(template) | made) - others


def test_a_provider_that_nobody_chose_is_not_there(template: Path, bake: Bake) -> None:
    project = bake(provider="memory")
    dropped = {
        name
        for name in service_files(template)
        if name.startswith("tests/faults/") or any(broker in name for broker in BROKERS)
    }
    made = {"app/queue/handlers/user_channel.py", "tests/handlers/test_user_channel.py"}
    assert project.files() == (service_files(template) | made) - dropped
    for name in ("pyproject.toml", "Makefile", "compose.yaml", ".env.example", "README.md", ".github/workflows/ci.yml"):
        assert not any(broker in project.read(name).lower() for broker in BROKERS), name
    assert "pika" not in project.read("pyproject.toml").replace('module = ["pika.*"]', "")
    check(project)
    project.run("pytest", "-q", "-p", "no:cacheprovider", *QUICK)


def test_no_jinja_is_left_and_every_file_parses(default_project: Project) -> None:
    default_project.check_every_file()


def test_no_module_of_the_service_holds_jinja() -> None:
    for file in (SERVICE / "app").rglob("*.py"):
        assert not re.search(r"\{\{ *cookiecutter|\{%", file.read_text(encoding="utf-8")), file


def test_the_default_project_is_clean_and_its_tests_pass(default_project: Project) -> None:
    check(default_project)
    assert " passed" in default_project.run("pytest", "-q", "-p", "no:cacheprovider", *QUICK)


def test_queues_of_all_kinds_in_one_project_are_clean_and_its_tests_pass(bake: Bake) -> None:
    project = bake(
        project_name="Mixed bag",
        queues="user_channel: send_audio, send_text; orders@memory!nodlq: order.created, order-paid; untyped; "
        "logging: sendAudio, Order, list, type, self, message, str, model_dump, logger, l; on: off, no, queue; null; "
        f"{'q' * 48}: customer.subscription.payment_method.updated, {'t' * 70}",
    )
    check(project)
    queues = {queue["name"]: queue for queue in yaml.safe_load(project.read("queues.yaml"))["queues"]}
    assert {name: (queue["type"], queue["enable_dlq"]) for name, queue in queues.items()} == {
        "user_channel": ("rabbitmq", True),
        "orders": ("memory", False),
        "untyped": ("rabbitmq", True),
        "logging": ("rabbitmq", True),
        "on": ("rabbitmq", True),
        "null": ("rabbitmq", True),
        "q" * 48: ("rabbitmq", True),
    }
    orders, users = (project.read(f"app/queue/handlers/{name}.py") for name in ("orders", "user_channel"))
    assert "then is logged whole and dropped" in " ".join(orders.split())
    assert "dead-letter" not in orders
    assert "then goes to the dead-letter queue" in " ".join(users.split())
    assert 'FastAPI(title="Mixed bag", ' in project.read("app/main.py")
    own = ("tests/project", "tests/handlers")
    named = (
        "tests/unit/test_handler_of.py",
        "tests/unit/test_register_handlers.py",
    )  # they make an `orders` of their own
    project.run("pytest", "-q", "-p", "no:cacheprovider", *own, *named)


def test_the_same_answers_make_the_same_bytes(bake: Bake) -> None:
    first, second = bake(queues="a: b; c: d"), bake(queues="a: b; c: d")
    assert first.path != second.path
    assert {name: (first.path / name).read_bytes() for name in first.files()} == {
        name: (second.path / name).read_bytes() for name in second.files()
    }


def check(project: Project) -> None:
    project.run("ruff", "check", "--no-cache", ".")
    project.run("ruff", "format", "--no-cache", "--check", ".")
    project.run("mypy", "--cache-dir", "/dev/null")
    project.run("lint-imports", "--no-cache")
    project.run("hadolint", "Dockerfile")
    project.run("zizmor", "--offline", "--quiet", ".")
    project.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    for workflow in ("ci", "template"):
        path = f".github/workflows/{workflow}.yml"
        project.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    project.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
