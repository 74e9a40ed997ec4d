"""`python -m template` as a user calls it: real git, real cruft, real releases, in temporary folders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from template import change as changing
from template import commands
from template.change import Options
from template.project import find_project
from template.releases import parse

from tests.conftest import Bake, Project
from tests.releases import RELEASES, Release, change, make_repository, publish
from tests.repository import commit, environment, run
from tests.touched import touch

ANSWERS = {"queues": "user_channel: send_audio; orders: order.created"}
HANDLER = "app/queue/handlers/orders.py"
CORE, STUB = RELEASES[:2]


@pytest.fixture(scope="session")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the template, released as v0.1.0, and a project of it, committed."""
    folder = tmp_path_factory.mktemp("made")
    repository = make_repository(template, folder / "queue-template")
    run(folder, "cruft", "create", "--no-input", "--extra-context", json.dumps(ANSWERS), str(repository))
    committed(folder / "queue-service")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Path:
    """The template of this test's own."""
    return shutil.copytree(made / "queue-template", tmp_path / "queue-template")


@pytest.fixture
def project(made: Path, repository: Path, tmp_path: Path) -> Project:
    """A project of this test's own."""
    project = Project(shutil.copytree(made / "queue-service", tmp_path / "queue-service"))
    change(project.path / ".cruft.json", str(made / "queue-template"), str(repository))
    run(project.path, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    return project


def committed(path: Path) -> Project:
    run(path, "git", "init", "--quiet", "--initial-branch", "main")
    commit(path, "From the template")
    return Project(path)


def script(project: Project, *arguments: str, code: int = 0) -> str:
    return run(project.path, sys.executable, "-m", "template", *arguments, code=code)


def status(project: Project) -> list[str]:
    return run(project.path, "git", "status", "--porcelain").splitlines()


def answers(project: Project) -> dict[str, str]:
    found: dict[str, str] = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
    return found


def fill_in(project: Project, name: str = HANDLER, text: str = "mine") -> None:
    change(project.path / name, "        logger.info(", f'        logger.debug("{text}")\n        logger.info(')


def conflicting(project: Project, repository: Path) -> None:
    """The user and the template's next release change one line of the core."""
    change(project.path / "app/queue/policy.py", "MAX_CRASHES = 5", "MAX_CRASHES = 9")
    commit(project.path, "Work")
    publish(repository, CORE)


def test_it_says_whether_the_project_is_behind_and_by_what(project: Project, repository: Path) -> None:
    assert "Up to date: v0.1.0" in script(project, "status", "--exit-code")
    publish(repository, CORE)
    publish(repository, STUB)
    said = script(project, "status", "--exit-code", code=3)
    assert "at v0.1.0, and v0.3.0 is out" in said
    assert said.index("a stub's shape") < said.index("core code")
    assert status(project) == []
    assert "v0.3.0 is out" in script(project, "status")


def test_commits_after_the_latest_release_are_not_a_release(project: Project, repository: Path) -> None:
    change(repository / "README.md", "# queue-template", "# A queue template")
    commit(repository, "Not released")
    assert "Up to date" in script(project, "status", "--exit-code")
    assert "Up to date" in script(project, "update", "--yes")
    script(project, "update", "--yes", "--to", "main")
    commit(project.path, "Ahead")
    assert "Up to date: v0.1.0-1-g" in script(project, "update", "--yes")


def test_an_update_is_staged_whole_and_undo_takes_it_back(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    before = project.read(".cruft.json")
    said = script(project, "update", "--yes")
    assert "MAX_CRASHES = 6" in project.read("app/queue/policy.py")
    assert sorted(status(project)) == ["A  app/queue/new_part.py", "M  .cruft.json", "M  app/queue/policy.py"]
    assert "new       app/queue/new_part.py" in said
    state = json.loads(project.read(".cruft.json"))
    assert state["template"] == str(repository)
    assert state["commit"] == run(repository, "git", "rev-parse", "v0.2.0").strip()
    assert state["checkout"] == "v0.2.0"
    (project.path / "app/queue/policy.py").write_text("# written since", encoding="utf-8")
    kept = script(project, "undo").split("git diff HEAD ")[1].split(",")[0]
    assert status(project) == []
    assert project.read(".cruft.json") == before
    assert run(project.path, "git", "show", f"{kept}:app/queue/policy.py") == "# written since"
    assert "nothing to undo" in script(project, "undo", code=1)


def test_nothing_is_changed_where_nobody_says_yes(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    assert "With --yes it is done" in script(project, "update", code=1)
    assert status(project) == []


def test_a_no_changes_nothing_and_the_diff_is_shown_when_asked_for(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    pty = pytest.importorskip("pty", reason="a terminal is needed to be asked, and Windows has none")
    user, terminal = pty.openpty()
    command = [sys.executable, "-m", "template", "update"]
    with open(user, "w", encoding="utf-8") as keyboard:  # noqa: PTH123 - a file descriptor
        keyboard.write("d\nn\n")
        keyboard.flush()
        done = subprocess.run(
            command, cwd=project.path, env=environment(), stdin=terminal, capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert "+MAX_CRASHES = 6" in done.stdout
    assert done.stdout.endswith("Nothing was changed.\n")
    assert status(project) == []


def test_a_dirty_tree_is_refused_and_the_reason_said(project: Project) -> None:
    fill_in(project)
    said = script(project, "add-queue", "--yes", "more", code=1)
    assert f"Not committed: {HANDLER}. Commit it or stash it first" in said
    assert run(project.path, "git", "diff", "--name-only").splitlines() == [HANDLER]


def test_a_conflict_is_listed_the_answers_are_the_new_ones_and_undo_takes_all_back(
    project: Project, repository: Path
) -> None:
    conflicting(project, repository)
    said = script(project, "update", "--yes", "--set", "max_attempts=7", code=3)
    assert "app/queue/policy.py: line " in said
    assert "undo" in said
    assert "<<<<<<< HEAD\nMAX_CRASHES = 9\n|||||||" in project.read("app/queue/policy.py")
    assert answers(project)["max_attempts"] == "7"
    assert "M  .cruft.json" in status(project)
    for command in ("status", "update", "undo"):
        if command != "undo":
            assert "app/queue/policy.py" in script(project, command, code=1)
    script(project, "undo")
    assert status(project) == []
    assert answers(project)["max_attempts"] == "5"
    assert "MAX_CRASHES = 9" in project.read("app/queue/policy.py")


def test_a_resolved_conflict_is_committed_and_the_next_update_is_clean(project: Project, repository: Path) -> None:
    conflicting(project, repository)
    script(project, "update", "--yes", code=3)
    text = project.read("app/queue/policy.py")
    start, end = text.index("<<<<<<<"), text.index("\n", text.index(">>>>>>>")) + 1
    resolved = f"{text[:start]}MAX_CRASHES = 9\n{text[end:]}"
    (project.path / "app/queue/policy.py").write_text(resolved, encoding="utf-8")
    commit(project.path, "Resolved")
    publish(repository, STUB)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 9" in project.read("app/queue/policy.py")
    assert "the message is finished" in project.read(HANDLER)


@pytest.mark.parametrize("left", ["marker", "rej"])
def test_what_another_merge_left_behind_stops_every_command(project: Project, left: str) -> None:
    if left == "marker":
        (project.path / "app/main.py").write_text("<<<<<<< HEAD\na\n=======\nb\n>>>>>>> other\n", encoding="utf-8")
        commit(project.path, "Committed by mistake")
    else:
        (project.path / "app/main.py.rej").write_text("@@ -1 +1 @@\n", encoding="utf-8")
    for command in (["status"], ["update", "--yes"], ["add-queue", "--yes", "more"]):
        assert "Conflicts of an earlier merge are left in: app/main.py" in script(project, *command, code=1)


def test_a_lock_that_is_not_committed_is_in_nobodys_way(project: Project) -> None:
    (project.path / "uv.lock").write_text("version = 1\n", encoding="utf-8")
    script(project, "add-type", "--yes", "orders", "order.paid")
    assert "order.paid" in project.read(HANDLER)


def test_changing_the_answer_to_queues_removes_none(project: Project) -> None:
    said = script(project, "set", "--yes", "queues=user_channel: send_audio", code=1)
    assert "That would remove orders" in said
    assert "remove-queue" in said
    assert status(project) == []


@pytest.mark.parametrize("url", ["/nowhere", "nonsense"])
def test_a_link_to_what_is_no_template_is_said_in_words(bake: Bake, url: str) -> None:
    plain = committed(bake(project_slug=f"linked-{len(url)}").path)
    said = script(plain, "link", url, code=1)
    assert "The template can't be read" in said
    assert "--at" in said
    assert status(plain) == []


def test_the_end_of_input_is_a_no(monkeypatch: pytest.MonkeyPatch) -> None:
    def ended(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", ended)
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(isatty=lambda: True))
    assert not changing.agreed(Options(), str)


def test_an_undo_takes_back_nothing_but_what_waits_to_be_committed(project: Project) -> None:
    script(project, "add-queue", "--yes", "invoices")
    run(project.path, "git", "reset", "--hard", "--quiet")
    (project.path / "app/main.py").write_text("# written since", encoding="utf-8")
    assert "is staged any more" in script(project, "undo", code=1)
    assert project.read("app/main.py") == "# written since"


def test_what_was_undone_is_kept_each_time(project: Project) -> None:
    kept = []
    for queue in ("invoices", "returns"):
        script(project, "add-queue", "--yes", queue)
        kept.append(script(project, "undo").split("git diff HEAD ")[1].split(",")[0])
    run(project.path, "git", "reflog", "expire", "--expire=now", "--all")
    run(project.path, "git", "gc", "--quiet", "--prune=now")
    for commit_id, queue in zip(kept, ("invoices", "returns"), strict=True):
        assert queue in run(project.path, "git", "show", f"{commit_id}:queues.yaml")


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


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_a_cruft_json_that_can_not_be_read_is_said_in_one_line(project: Project, content: str) -> None:
    (project.path / ".cruft.json").write_text(content, encoding="utf-8")
    commit(project.path, "Broken")
    said = script(project, "add-queue", "--yes", "invoices", code=1)
    assert said.startswith("Error: .cruft.json can't be read")
    assert said.count("\n") == 1


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


def test_text_of_breaking_changes_is_shown_before_an_update_across_them(project: Project, repository: Path) -> None:
    publish(repository, CORE)
    publish(repository, Release("1.0.0", "more", lambda _: None, breaking="Rename `a` to `b` in queues.yaml."))
    said = script(project, "update", code=1)
    assert "BREAKING in 1.0.0, to be done by hand:\n\n- Rename `a` to `b` in queues.yaml." in said
    script(project, "update", "--yes", "--to", "v1.0.0")
    commit(project.path, "Updated")
    assert "BREAKING" not in script(project, "update", "--yes")


def test_a_fresh_clone_after_a_squash_merge_takes_a_second_update(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    fill_in(project)
    commit(project.path, "Work")
    run(project.path, "git", "switch", "--quiet", "--create", "update")
    publish(repository, CORE)
    script(project, "update", "--yes")
    commit(project.path, "Update")
    run(project.path, "git", "switch", "--quiet", "main")
    run(project.path, "git", "merge", "--quiet", "--squash", "update")
    commit(project.path, "Squashed")
    # Only what is reachable, so the blobs of the first renders are not there.
    run(tmp_path, "git", "clone", "--quiet", "--no-local", "--depth", "1", project.path.as_uri(), "clone")
    clone = Project(tmp_path / "clone")
    publish(repository, STUB)
    script(clone, "update", "--yes")
    assert "the message is finished" in clone.read(HANDLER)
    assert 'logger.debug("mine")' in clone.read(HANDLER)


def test_a_project_of_plain_cookiecutter_is_linked_with_its_own_answers(
    bake: Bake, repository: Path, tmp_path: Path
) -> None:
    shutil.copytree(bake(**ANSWERS, description="A {{ strange }} one").path, tmp_path / "plain")
    project = committed(tmp_path / "plain")
    assert "-m template link URL" in script(project, "update", "--yes", code=1)
    publish(repository, STUB)
    script(project, "link", str(repository))
    assert status(project) == ["A  .cruft.json"]
    commit(project.path, "Linked")
    assert answers(project)["description"] == "A {{ strange }} one"
    script(project, "update", "--yes")
    assert "the message is finished" in project.read(HANDLER)


def test_a_url_with_a_token_is_refused_and_never_shown(project: Project) -> None:
    (project.path / ".cruft.json").unlink()
    commit(project.path, "Not linked")
    said = script(project, "link", "https://me:secret@localhost:9/x.git", code=1)
    assert "Leave user and token out of the URL" in said


def test_a_template_that_can_not_be_read_is_said_in_one_line_without_its_token(project: Project) -> None:
    change(
        project.path / ".cruft.json", json.loads(project.read(".cruft.json"))["template"], "http://me:secret@[::1]:9/x"
    )
    commit(project.path, "Moved")
    said = script(project, "status", code=1)
    assert said.startswith("Error: The template can't be read: http://[::1]:9/x")
    assert "secret" not in said
    assert len(said.splitlines()) == 1


def test_a_folder_in_no_repository_is_told_what_to_do(bake: Bake, tmp_path: Path) -> None:
    shutil.copytree(bake().path, tmp_path / "plain")
    said = script(Project(tmp_path / "plain"), "update", "--yes", code=1)
    assert said.startswith("Error: This needs a git repository with a commit")


def test_a_project_in_a_folder_of_a_larger_repository_is_updated_there(repository: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    run(whole, "cruft", "create", "--no-input", str(repository))
    (whole / "other.txt").write_text("other", encoding="utf-8")
    committed(whole)
    project = Project(whole / "queue-service")
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 6" in project.read("app/queue/policy.py")
    assert "A  queue-service/app/queue/new_part.py" in status(project)
    assert (whole / "other.txt").read_text(encoding="utf-8") == "other"


def test_a_file_the_user_renamed_or_deleted_stays_renamed_or_deleted(project: Project, repository: Path) -> None:
    run(project.path, "git", "mv", HANDLER, "app/queue/handlers/purchases.py")
    run(project.path, "git", "rm", "--quiet", "tests/handlers/test_user_channel.py")
    commit(project.path, "Work")
    publish(repository, STUB)
    said = script(project, "update", "--yes")
    assert "tests/handlers/test_user_channel.py: stays deleted" in said
    assert not (project.path / "tests/handlers/test_user_channel.py").exists()
    assert "the message is finished" in project.read("app/queue/handlers/purchases.py")


def test_a_file_that_the_user_edited_and_the_template_removes_is_kept(project: Project, repository: Path) -> None:
    with (project.path / "README.pt-BR.md").open("a", encoding="utf-8") as file:
        file.write("Meu.\n")
    commit(project.path, "Work")
    publish(repository, next(release for release in RELEASES if release.title == "a removed file"))
    assert "README.pt-BR.md: stays as you have it" in script(project, "update", "--yes")
    assert project.read("README.pt-BR.md").endswith("Meu.\n")


def test_what_cruft_is_told_to_skip_is_left_alone(project: Project, repository: Path) -> None:
    with (project.path / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.cruft]\nskip = ["app/queue/policy.py"]\n')
    commit(project.path, "Work")
    publish(repository, CORE)
    script(project, "update", "--yes")
    assert "MAX_CRASHES = 5" in project.read("app/queue/policy.py")
    assert (project.path / "app/queue/new_part.py").exists()


def test_what_is_broken_off_in_the_middle_is_taken_back(
    project: Project, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(repository, CORE)
    merge = vars(changing)["merge"]

    def broken_off(found: Any, folder: Path, *rest: Any) -> Any:
        outcome = merge(found, folder, *rest)
        if folder == found.top:
            assert status(project)
            raise KeyboardInterrupt
        return outcome

    monkeypatch.setattr(changing, "merge", broken_off)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt):
        commands.update(find_project(project.path), Options(yes=True), None, {})
    assert status(project) == []
    assert "MAX_CRASHES = 5" in project.read("app/queue/policy.py")


def test_cruft_is_run_by_uv_with_what_it_needs_today(project: Project) -> None:
    command = [sys.executable, "-m", "template", "add-queue", "--yes", "more"]
    variables = {name: value for name, value in environment().items() if name != "TEMPLATE_CRUFT"}
    done = subprocess.run(command, cwd=project.path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "A  app/queue/handlers/more.py" in status(project)


def test_without_uv_it_says_where_to_get_it(project: Project, tmp_path: Path) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(git)
    variables = {name: value for name, value in environment().items() if name != "TEMPLATE_CRUFT"}
    variables["PATH"] = str(tmp_path / "bin")
    command = [sys.executable, "-m", "template", "add-queue", "--yes", "more"]
    done = subprocess.run(command, cwd=project.path, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: uv is needed, to run cruft: https://docs.astral.sh/uv/")
    assert status(project) == []


def test_the_scheduled_job_fails_when_a_release_is_out_and_its_summary_says_what_has_changed(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    workflow = yaml.safe_load(project.read(".github/workflows/template.yml"))
    job = workflow["jobs"]["status"]
    assert job["permissions"] == {"contents": "read"}
    summary = tmp_path / "summary"
    command = f"export GITHUB_STEP_SUMMARY='{summary}'; {job['steps'][-1]['run']}"
    run(project.path, "bash", "-eo", "pipefail", "-c", command)
    publish(repository, CORE)
    run(project.path, "bash", "-eo", "pipefail", "-c", command, code=3)
    assert "v0.2.0 is out" in summary.read_text(encoding="utf-8")
    assert "- core code" in summary.read_text(encoding="utf-8")


def test_the_version_is_the_same_wherever_it_is_named(template: Path) -> None:
    version = json.loads((template / "cookiecutter.json").read_text(encoding="utf-8"))["__version"]
    assert tomllib.loads((template / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"] == version
    released = parse((template / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert not released or released[0].version == version
