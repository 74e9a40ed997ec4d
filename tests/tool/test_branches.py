"""Two branches, each with a queue more: what git merges, and that all commands agree afterwards on what there is."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from queue_template.project import find_project
from queue_template.queues import answers_now
from queue_template_extension import queues_of
from tests.conftest import Project
from tests.releases import RELEASES, change, publish
from tests.repository import commit, run
from tests.tool.script import CORE, answers, fill_in, script, status

QUEUES_YAML = RELEASES[2]
BY_HAND = """from app.queue.handling import message_type


class SomeHandler:
    queue = 'by-hand'

    async def fine(self, message: dict) -> None: ...

    @message_type("a.b")
    async def first(self, message: dict) -> None: ...

    @message_type("a-b")
    async def the_same_name(self, message: dict) -> None: ...

    @message_type("two words")
    async def no_type(self, message: dict) -> None: ...

    @message_type("pass")
    async def keyword(self, message: dict) -> None: ...

    def _private(self) -> None: ...
"""
JSON = (".cruft.json", ".queue-template.json")


def names(project: Project) -> list[str]:
    return [queue["name"] for queue in yaml.safe_load(project.read("queues.yaml"))["queues"]]


def branch(project: Project, name: str, *commands: list[str]) -> None:
    run(project.path, "git", "switch", "--quiet", "--create", name, "main")
    for command in commands:
        script(project, command[0], "--yes", *command[1:])
        commit(project.path, " ".join(command))


def resolve_queues_yaml(project: Project) -> None:
    """As README says: with both entries whole, and both kept."""
    run(project.path, "git", "checkout", "--quiet", "--conflict=diff3", "queues.yaml")
    text = project.read("queues.yaml")
    text = re.sub(r"^[|]{7}.*?^={7}\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^[<>]{7}.*\n", "", text, flags=re.MULTILINE)
    (project.path / "queues.yaml").write_text(text, encoding="utf-8")


def merged(project: Project, *branches: str, side: str = "ours") -> list[str]:
    """Merge the branches into main, with both entries in queues.yaml. Returns what git could not merge."""
    conflicts: list[str] = []
    run(project.path, "git", "switch", "--quiet", "main")
    for name in branches:
        run(project.path, "git", "merge", "--quiet", "--no-edit", name, code=0 if name == branches[0] else 1)
        conflicts += (left := run(project.path, "git", "diff", "--name-only", "--diff-filter=U").splitlines())
        if both := [own for own in left if own in JSON]:
            run(project.path, "git", "checkout", "--quiet", f"--{side}", *both)
        if "queues.yaml" in left:
            resolve_queues_yaml(project)
        commit(project.path, f"Merge {name}")
    return conflicts


def starts(project: Project) -> None:
    """The service starts, and takes a message through each queue; and the tests of handlers pass."""
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers", "tests/test_service.py")


def test_branches_that_add_a_queue_each_meet_in_queues_yaml_alone_and_every_command_goes_on(
    project: Project, repository: Path
) -> None:
    before = {name: project.read(name) for name in JSON}
    branch(project, "one", ["add-queue", "invoices: invoice.sent, invoice.paid"], ["add-type", "invoices", "late"])
    branch(project, "two", ["add-queue", "refunds@memory!nodlq"], ["add-type", "orders", "order.paid"])
    assert merged(project, "one", "two") == ["queues.yaml"]
    assert {name: project.read(name) for name in JSON} == before
    assert names(project) == ["user_channel", "orders", "invoices", "refunds"]
    starts(project)
    for name in ("invoices", "refunds: x", "orders"):
        assert "already" in script(project, "add-queue", "--yes", name, code=1)
    assert "That would remove invoices, refunds" in script(
        project, "set", "--yes", "queues=user_channel: send_audio; orders: order.created", code=1
    )
    assert status(project) == []
    fill_in(project, "app/queue/handlers/refunds.py")
    commit(project.path, "Work")
    script(project, "add-type", "--yes", "refunds", "asked")
    commit(project.path, "A type")
    script(project, "add-queue", "--yes", "third")
    assert names(project) == ["user_channel", "orders", "invoices", "refunds", "third"]
    commit(project.path, "More")
    publish(repository, QUEUES_YAML)
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    document = {queue["name"]: queue for queue in yaml.safe_load(project.read("queues.yaml"))["queues"]}
    assert {queue["concurrency"] for queue in document.values()} == {10}
    assert answers(project)["queues"] == (
        "user_channel: send_audio; orders: order.created, order.paid; invoices: invoice.sent, invoice.paid, late; "
        "refunds@memory!nodlq: example, asked; third"
    )
    script(project, "remove-queue", "--yes", "invoices")
    script_removed = run(project.path, "git", "diff", "--cached", "--name-only", "--diff-filter=D").splitlines()
    assert script_removed == ["app/queue/handlers/invoices.py", "tests/handlers/test_invoices.py"]
    commit(project.path, "Removed")
    script(project, "set", "--yes", "max_attempts=7")
    entries = {queue["name"]: queue for queue in yaml.safe_load(project.read("queues.yaml"))["queues"]}
    assert {name: queue["retry"]["max_attempts"] for name, queue in entries.items()} == dict.fromkeys(
        ("user_channel", "orders", "refunds", "third"), 7
    )
    starts(project)


@pytest.mark.parametrize("resolved", ["ours", "theirs"])
def test_however_the_answers_were_resolved_what_is_there_counts(project: Project, resolved: str) -> None:
    branch(project, "one", ["add-queue", "invoices@redis"])  # a provider more is written down
    branch(project, "two", ["add-queue", "refunds@redis"])
    assert merged(project, "one", "two", side=resolved) == [*JSON, "queues.yaml"]
    assert answers(project)["queues"].endswith("; invoices@redis" if resolved == "ours" else "; refunds@redis")
    assert names(project) == ["user_channel", "orders", "invoices", "refunds"]
    script(project, "add-queue", "--yes", "third")
    commit(project.path, "Third")
    for name in ("invoices", "refunds"):
        script(project, "remove-queue", "--yes", name)
        commit(project.path, f"Without {name}")
    assert names(project) == ["user_channel", "orders", "third"]
    assert not (project.path / "app/queue/providers/redis").exists()
    assert answers(project)["queues"] == "user_channel: send_audio; orders: order.created; third"


def test_an_entry_that_is_there_twice_is_said(project: Project) -> None:
    entry = project.read("queues.yaml").partition("  - name: orders\n")[2]
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write(f"\n  - name: orders\n{entry}")
    commit(project.path, "Both sides had it")
    for command in (["add-queue", "more"], ["remove-queue", "orders"], ["set", "max_attempts=7"]):
        said = script(project, command[0], "--yes", *command[1:], code=1)
        assert said == "Error: queues.yaml has the queue 'orders' 2 times: leave the entry that is right.\n"


def test_a_queue_that_was_deleted_by_hand_is_gone(project: Project) -> None:
    run(project.path, "git", "rm", "--quiet", "app/queue/handlers/orders.py", "tests/handlers/test_orders.py")
    text = project.read("queues.yaml")
    (project.path / "queues.yaml").write_text(text.partition("\n  - name: orders\n")[0], encoding="utf-8")
    commit(project.path, "Without orders")
    assert "There is no queue 'orders' in the answers" in script(project, "remove-queue", "--yes", "orders", code=1)
    script(project, "add-queue", "--yes", "orders: again")
    assert names(project) == ["user_channel", "orders"]
    starts(project)


def test_a_queue_whose_entry_has_another_style_is_known(project: Project) -> None:
    script(project, "add-queue", "--yes", "more@memory: one")
    commit(project.path, "More")
    change(project.path / "queues.yaml", "  - name: more\n    type: memory\n", "  - type: memory\n    name: more\n")
    commit(project.path, "In another order")
    assert "already" in script(project, "add-queue", "--yes", "more", code=1)
    said = script(project, "remove-queue", "--yes", "more", code=3)
    assert "queues.yaml: delete the entry of more" in said or "queues.yaml" in said.partition("Conflicts")[2]


def test_cruft_itself_goes_on_after_a_queue_was_added(project: Project, repository: Path) -> None:
    script(project, "add-queue", "--yes", "invoices: invoice.sent")
    script(project, "undo")
    script(project, "add-queue", "--yes", "invoices: invoice.sent")
    commit(project.path, "Invoices")
    publish(repository, CORE)
    run(project.path, "cruft", "update", "--skip-apply-ask")
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert not [line for line in status(project) if "invoices" in line or ".rej" in line]
    commit(project.path, "Updated by cruft")
    script(project, "remove-queue", "--yes", "invoices")
    assert names(project) == ["user_channel", "orders"]


def test_what_is_there_is_an_answer_that_the_template_takes(project: Project) -> None:
    (project.path / "app/queue/handlers/by_hand.py").write_text(BY_HAND, encoding="utf-8")
    (project.path / "app/queue/handlers/more.py").write_text(BY_HAND.replace("'by-hand'", "'class'"), encoding="utf-8")
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        for name, kind in (("by-hand", "memory"), ("class", "memory"), ("other", "${KIND:-nats}"), ("own", "acme")):
            file.write(f"\n  - name: {name}\n    type: {kind}\n    enable_dlq: false\n")
    for name in ("other", "own"):
        (project.path / f"app/queue/handlers/{name}.py").write_text(
            BY_HAND.replace("    queue = 'by-hand'\n", ""), encoding="utf-8"
        )
    found = answers_now(find_project(project.path), json.loads(project.read(".cruft.json")))
    expected = "other@nats!nodlq: fine, a.b; own@memory!nodlq: fine, a.b"
    assert found["queues"] == f"user_channel: send_audio; orders: order.created; {expected}"
    assert len(queues_of(found)) == 4


def test_two_branches_each_with_a_new_provider_come_together_as_the_readme_says(project: Project) -> None:
    branch(project, "one", ["add-queue", "cached@redis: put"])
    branch(project, "two", ["add-queue", "sent@nats: send"])
    fill_in(project, "app/queue/handlers/sent.py")
    commit(project.path, "Mine")
    run(project.path, "git", "switch", "--quiet", "main")
    run(project.path, "git", "merge", "--quiet", "--no-edit", "one")
    run(project.path, "git", "merge", "--quiet", "--no-edit", "two", code=1)
    left = run(project.path, "git", "diff", "--name-only", "--diff-filter=U").splitlines()
    assert {"queues.yaml", "compose.yaml", "docs/promises.md"} <= {*left}
    resolve_queues_yaml(project)
    run(project.path, "git", "checkout", "--quiet", "--ours", *(name for name in left if name != "queues.yaml"))
    commit(project.path, "Merge two")
    script(project, "remove-queue", "--yes", "--delete-edited", "sent")
    commit(project.path, "Without")
    script(project, "add-queue", "--yes", "sent@nats: send")
    run(project.path, "git", "checkout", "--quiet", "two", "--", "app/queue/handlers/sent.py")
    commit(project.path, "Again")
    assert names(project) == ["user_channel", "orders", "cached", "sent"]
    assert 'logger.debug("mine")' in project.read("app/queue/handlers/sent.py")
    for name in ("compose.yaml", ".env.example", "docs/promises.md", "pyproject.toml"):
        assert "nats" in project.read(name)
        assert "redis" in project.read(name)
    script(project, "add-queue", "--yes", "more@nats: other")
    starts(project)
