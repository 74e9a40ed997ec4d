"""Queues and message types come and go, and what the user wrote stays."""

from __future__ import annotations

import yaml

from tests.conftest import Project
from tests.releases import change
from tests.repository import commit, run
from tests.tool.script import HANDLER, answers, fill_in, script, status
from tests.touched import touch


def test_a_method_is_added_to_its_class_whatever_is_behind_it(project: Project) -> None:
    with (project.path / HANDLER).open("a", encoding="utf-8") as file:
        file.write("\n\ndef helper(x: int) -> int:\n    return x + 1\n")
    commit(project.path, "A helper")
    script(project, "add-type", "--yes", "orders", "order.paid")
    source = project.read(HANDLER)
    assert source.index("async def order_paid") < source.index("def helper")
    assert source.endswith("    return x + 1\n")


def test_an_entry_goes_before_the_keys_that_the_user_has_behind_the_queues(project: Project) -> None:
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write("    prefetch: 50 # mine\n\nconsumer_threads: 2\ndrain:\n  delay: 1\n  timeout: 20\n")
    commit(project.path, "Settings of the whole file")
    script(project, "add-queue", "--yes", "invoices: invoice.sent")
    document = yaml.safe_load(project.read("queues.yaml"))
    assert [queue["name"] for queue in document["queues"]] == ["user_channel", "orders", "invoices"]
    assert (document["consumer_threads"], document["drain"]) == (2, {"delay": 1, "timeout": 20})
    commit(project.path, "Invoices")
    script(project, "remove-queue", "--yes", "invoices")
    document["queues"].pop()
    assert yaml.safe_load(project.read("queues.yaml")) == document


def test_a_queue_is_added_with_handler_test_and_entry_and_nothing_is_overwritten(project: Project) -> None:
    lines = touch(project.path)
    commit(project.path, "Work")
    script(project, "add-queue", "--yes", "more@memory!nodlq: one, two.three")
    assert '@message_type("two.three")' in project.read("app/queue/handlers/more.py")
    assert "test_two_three_is_handled" in project.read("tests/handlers/test_more.py")
    entries = {entry["name"]: entry for entry in yaml.safe_load(project.read("queues.yaml"))["queues"]}
    assert list(entries) == ["user_channel", "orders", "more"]
    assert entries["more"]["enable_dlq"] is False
    assert entries["orders"]["prefetch"] == 50
    for name, written in lines.items():
        assert not [line for line in written if line not in project.read(name).splitlines()], name


def test_a_handler_that_was_there_before_its_queue_stays_as_it_is(project: Project) -> None:
    file = project.path / "app/queue/handlers/more.py"
    file.write_text('"""Mine."""\n\n\nclass MoreHandler:\n    """Mine."""\n', encoding="utf-8")
    commit(project.path, "Work")
    said = script(project, "add-queue", "--yes", "more: one")
    assert "app/queue/handlers/more.py: stays as you have it" in said
    assert file.read_text(encoding="utf-8").startswith('"""Mine."""')


def test_an_entry_that_was_there_before_is_refused(project: Project) -> None:
    with (project.path / "queues.yaml").open("a", encoding="utf-8") as file:
        file.write("\n  - name: by_hand\n    type: memory\n")
    commit(project.path, "Work")
    assert "has an entry 'by_hand' already" in script(project, "add-queue", "--yes", "by_hand", code=1)
    assert "There is no queue 'by_hand' in the answers" in script(project, "remove-queue", "--yes", "by_hand", code=1)


def test_a_wrong_answer_costs_one_line_and_nothing_changes(project: Project) -> None:
    for arguments, said in (
        (["add-queue", "--yes", "Big"], "Error: queues: queue name 'Big' must have small letters"),
        (["add-queue", "--yes", "orders: x"], "has an entry 'orders' already"),
        (["set", "--yes", "max_attempts=many"], "Error: max_attempts: 'many' must be a whole number"),
        (["set", "--yes", "provider=pigeons"], "pigeons provided for choice variable provider"),
        (["set", "--yes", "no_such=1"], "There is no answer no_such; there are: project_name"),
        (["update", "--yes", "--to", "v9.9.9"], "The template has no 'v9.9.9'"),
    ):
        text = script(project, *arguments, code=1)
        assert said in text
        assert len(text.splitlines()) == 1
    assert status(project) == []


def test_changing_the_answer_to_queues_removes_none(project: Project) -> None:
    said = script(project, "set", "--yes", "queues=user_channel: send_audio", code=1)
    assert "That would remove orders" in said
    assert "remove-queue" in said
    assert status(project) == []


def test_a_message_type_is_added_to_a_handler_that_was_filled_in_and_all_checks_pass(project: Project) -> None:
    touch(project.path)
    commit(project.path, "Work")
    script(project, "add-type", "--yes", "orders", "order.paid")
    script_lines = project.read(HANDLER).splitlines()
    assert "        self.seen = [message]  # mine" in script_lines
    assert '    @message_type("order.paid")' in script_lines
    project.run("ruff", "check", "--no-cache", ".")
    project.run("ruff", "format", "--no-cache", "--check", "app/queue/handlers")
    project.run("mypy", "--cache-dir", "/dev/null")
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers")


def test_an_edited_handler_is_only_deleted_if_the_user_says_so_and_git_keeps_it(project: Project) -> None:
    fill_in(project)
    change(project.path / "queues.yaml", "  - name: orders\n", "  - name: orders\n    prefetch: 7\n")
    (project.path / "app/uses.py").write_text('"""Mine."""\n\nQUEUE = "orders"\n', encoding="utf-8")
    commit(project.path, "Work")
    head = run(project.path, "git", "rev-parse", "HEAD").strip()
    said = script(project, "remove-queue", "--yes", "orders", code=1)
    assert f"git show {head[:10]}:{HANDLER}" in said
    assert "orders is also named in: app/uses.py" in said
    assert "with --yes, edited files are only deleted with --delete-edited" in said
    assert status(project) == []
    script(project, "remove-queue", "--yes", "--delete-edited", "orders")
    assert not (project.path / HANDLER).exists()
    assert [entry["name"] for entry in yaml.safe_load(project.read("queues.yaml"))["queues"]] == ["user_channel"]
    assert answers(project)["queues"] == "user_channel: send_audio"
    assert 'logger.debug("mine")' in run(project.path, "git", "show", f"{head[:10]}:{HANDLER}")
    commit(project.path, "Removed")
    assert "the only queue" in script(project, "remove-queue", "--yes", "user_channel", code=1)


def test_an_entry_that_was_edited_is_only_deleted_if_the_user_says_so(project: Project) -> None:
    text = project.read("queues.yaml")
    head, name, entry = text.partition("  - name: orders\n")
    entry = entry.replace("max_attempts: 5", "max_attempts: 77  # agreed with the shop")
    (project.path / "queues.yaml").write_text(f"{head}{name}{entry}", encoding="utf-8")
    commit(project.path, "Agreed")
    said = script(project, "remove-queue", "--yes", "orders", code=1)
    assert "You edited queues.yaml. What is deleted stays in git: git show " in said
    assert status(project) == []
    script(project, "remove-queue", "--yes", "--delete-edited", "orders")
    assert "agreed" not in project.read("queues.yaml")


def test_what_a_removed_queue_leaves_behind_is_said_with_the_command_for_it(project: Project) -> None:
    script(project, "add-queue", "--yes", "more@redis")
    folder = project.path / "app/queue/handlers/more"
    folder.mkdir()
    (project.path / "app/queue/handlers/more.py").rename(folder / "__init__.py")
    commit(project.path, "A package")
    said = script(project, "remove-queue", "--yes", "more")
    assert "  app/queue/handlers/more, which handles it: git rm -r app/queue/handlers/more\n" in said
    places = "more, quarantine_more, dlq_more, parked_more, retry_more_delayed"
    assert (
        f"at redis, as far as they are there, and with their messages: {places}. For each: redis-cli DEL NAME" in said
    )
    script(project, "undo")
    script(project, "add-queue", "--yes", "fast@memory")
    commit(project.path, "One in memory")
    assert "Left behind" not in script(project, "remove-queue", "--yes", "fast")
