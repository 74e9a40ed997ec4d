"""What comes out of the template."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from tests.conftest import CORE_TESTS, QUICK, ROOT, Bake, Project

SERVICE = ROOT / "{{cookiecutter.project_slug}}"
BROKERS = ("rabbitmq", "redis", "nats")
POLLED_KIT = {f"app/queue/broker/{name}.py" for name in ("batches", "consumer", "leases", "polling", "reader")}
"""The half of the kit for providers that is for polled brokers alone."""
MOST_LINES = {"rabbitmq": 1_200, "redis": 1_200, "nats": 1_200, "memory": 300}
"""Of Python in a provider: more, and it says what the kit should say, or the core."""
INSTEAD_OF_A_LIBRARY = {"frames.py", "outgoing.py"}
"""What stands in for a part of the broker's library, and could be left out, is nothing that a provider says."""
SHARED = "app/queue/"
"""What is compared with the template's own tree. All other files of a default bake are named here."""
BESIDE_APP = {
    *(".devcontainer/devcontainer.json", ".dockerignore", ".editorconfig", ".env.example", ".gitattributes"),
    *(".github/dependabot.yml", ".github/workflows/ci.yml", ".github/workflows/template.yml", ".gitignore"),
    *(".queue-template.json", "template.py"),
    *(".pre-commit-config.yaml", "Dockerfile", "Makefile", "README.md", "README.pt-BR.md", "compose.yaml"),
    *("app/__init__.py", "app/__main__.py", "app/main.py", "pyproject.toml", "queues.yaml"),
    *(
        "docs/adding-a-provider.md",
        "docs/architecture.md",
        "docs/configuration.md",
        "docs/messages.md",
        "docs/monitoring.md",
        "docs/promises.md",
        "docs/rabbitmq.md",
    ),
    *("tests/__init__.py", "tests/conftest.py", "tests/rehearsal.py", "tests/test_broker.py", "tests/test_service.py"),
    *("tests/broker_rabbitmq.py", "tests/handlers/__init__.py", "tests/handlers/conftest.py"),
}
OWNERS = {
    r"app/queue/handlers/(?!__init__|register_handlers)|queues\.yaml|app/main\.py": "the user's service",
    r"tests/handlers/test_": "the user's tests",
    r"tests/": "the template's tests",
    r"app/queue/providers/": "the template's app/queue/providers/",
    r"app/": "the template's app/, the rest",
    r".*\.md$": "the template's documents",
    r"": "the template's other files",
}
"""A pattern of names, and whose they are: the first that fits."""


def service_files(template: Path) -> set[str]:
    folder = template / SERVICE.name
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    return files - {"{{_copier_conf.answers_file}}"}  # copier's alone


def test_the_default_answers_make_exactly_these_files(template: Path, default_project: Project) -> None:
    made = {"app/queue/handlers/user_channel.py", "tests/handlers/test_user_channel.py"}
    service = {name for name in service_files(template) if name.startswith(SHARED)}
    others = {name for name in service if any(broker in name for broker in BROKERS[1:])}
    assert default_project.files() == (service - others - POLLED_KIT) | made | BESIDE_APP


def test_whoever_writes_a_provider_of_a_polled_broker_gets_that_half_of_the_kit(bake: Bake) -> None:
    project, without = bake(_polled_kit="yes"), bake(_polled_kit="no")
    assert project.files() - without.files() == POLLED_KIT
    assert '"_polled_kit": "yes"' in project.read(".queue-template.json")
    project.run("ruff", "check", "--no-cache", ".")
    project.run("mypy", "--cache-dir", "/dev/null")
    kit = ("-v", "-k", "test_broker_", str(CORE_TESTS / "unit"))
    said = [one.run_core_tests(*kit) for one in (project, without)]
    assert ["left out, for the project has no polled half of the kit: " in text for text in said] == [False, True]
    collected = [text.partition("collected")[2] for text in said]
    assert ["test_broker_leases.py" in text for text in collected] == [True, False]
    assert all("test_broker_processor.py" in text for text in collected)


@pytest.mark.parametrize("provider", BROKERS[1:])
def test_a_polled_provider_brings_its_half_of_the_kit_whatever_was_answered(bake: Bake, provider: str) -> None:
    assert bake(queues=f"a; b@{provider}").files() >= POLLED_KIT


def sizes(project: Project) -> dict[str, tuple[int, int]]:
    """How many files and lines of Python a bake has, by owner."""
    counted: dict[str, tuple[int, int]] = {}
    for name in sorted(project.files()):
        owner = next(owner for pattern, owner in OWNERS.items() if re.match(pattern, name))
        files, lines = counted.get(owner, (0, 0))
        more = len(project.read(name).splitlines()) if name.endswith(".py") else 0
        counted[owner] = (files + 1, lines + more)
    return counted


def test_a_default_bake_has_at_most_130_files_and_10000_lines(default_project: Project) -> None:
    files, lines = total(sizes(default_project).values())
    assert files <= 130
    assert lines <= 10_000


def test_a_default_bake_has_at_most_500_lines_of_tests(
    default_project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = sizes(default_project)
    with capsys.disabled():
        print()
        for owner, (files, lines) in {**counted, "in all": total(counted.values())}.items():
            print(f"{owner:<45} {files:>4} files {lines:>6} lines of Python")
    assert total(counts for owner, counts in counted.items() if "tests" in owner)[1] <= 500


@pytest.mark.parametrize(("provider", "most"), MOST_LINES.items())
def test_a_provider_has_not_more_lines_than_its_broker_takes(provider: str, most: int) -> None:
    files = (SERVICE / "app/queue/providers" / provider).glob("*.py")
    files = (file for file in files if file.name not in INSTEAD_OF_A_LIBRARY)
    assert 0 < sum(len(file.read_text("utf-8").splitlines()) for file in files) <= most


def test_every_provider_has_a_number_of_lines_that_it_may_have() -> None:
    assert {folder.name for folder in (SERVICE / "app/queue/providers").glob("[!_]*/")} == MOST_LINES.keys()


def total(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    files, lines = zip(*counts, strict=True)
    return sum(files), sum(lines)


def test_a_provider_that_nobody_chose_is_not_there(template: Path, bake: Bake) -> None:
    project = bake(provider="memory")
    dropped = {name for name in service_files(template) if any(broker in name for broker in BROKERS)}
    dropped |= {"tests/test_broker.py", *POLLED_KIT}
    made = {"app/queue/handlers/user_channel.py", "tests/handlers/test_user_channel.py"}
    assert project.files() == (service_files(template) | made) - dropped
    for name in ("pyproject.toml", "Makefile", "compose.yaml", ".env.example", "README.md", ".github/workflows/ci.yml"):
        assert not any(broker in project.read(name).lower() for broker in BROKERS), name
    assert "pika" not in project.read("pyproject.toml")
    check(project)
    project.run("pytest", "-q", "-p", "no:cacheprovider")
    project.run_core_tests(*QUICK, str(CORE_TESTS))


def test_no_jinja_is_left_and_every_file_parses(default_project: Project) -> None:
    default_project.check_every_file()


def test_no_module_of_the_service_holds_jinja() -> None:
    for file in (SERVICE / "app").rglob("*.py"):
        assert not re.search(r"\{\{ *cookiecutter|\{%", file.read_text(encoding="utf-8")), file


def test_the_default_project_is_clean_and_its_tests_pass(default_project: Project) -> None:
    check(default_project)
    assert " passed" in default_project.run("pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in default_project.run_core_tests(*QUICK, str(CORE_TESTS))


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
    project.run("pytest", "-q", "-p", "no:cacheprovider")
    named = ("test_testing.py", "test_register_handlers.py")  # they make an `orders` of their own
    project.run_core_tests(*(str(CORE_TESTS / "unit" / name) for name in named))


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
    project.run("hadolint", "Dockerfile")
    project.run("zizmor", "--offline", "--quiet", ".")
    project.run("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")
    for workflow in ("ci", "template"):
        path = f".github/workflows/{workflow}.yml"
        project.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", path)
    project.run("check-jsonschema", "--builtin-schema", "vendor.dependabot", ".github/dependabot.yml")
