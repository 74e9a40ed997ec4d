"""Regeneration with real cruft on real git repositories: the template moves on, and the user's work stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.conftest import CORE_TESTS, Bake, Project
from tests.releases import RELEASES, change, make_repository, publish
from tests.repository import commit, run
from tests.tool.script import script

HANDLER = """
    async def send_audio(self, message: SendAudioMessage) -> None:
        \"\"\"Handle `send_audio`.\"\"\"
        self.sent = [message.user_id]
"""


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """The template in a repository of its own."""
    return make_repository(template, tmp_path / "queue-template")


def test_an_edited_project_takes_in_a_release_and_a_queue_without_a_conflict(repository: Path, tmp_path: Path) -> None:
    run(tmp_path, "cruft", "create", "--no-input", str(repository))
    project = Project(tmp_path / "queue-service")
    run(project.path, "git", "init", "--quiet")
    commit(project.path, "From the template")

    # The user's work.
    handler = project.path / "app/queue/handlers/user_channel.py"
    stub = handler.read_text(encoding="utf-8")
    handler.write_text(stub[: stub.index("\n    async def send_audio")] + HANDLER, encoding="utf-8")
    change(handler, '    model_config = ConfigDict(extra="allow")\n', "    user_id: int\n")
    change(handler, "import BaseModel, ConfigDict", "import BaseModel")
    change(handler, "\nfrom app.queue.handling import (\n    current_delivery,\n)\n", "")
    change(handler, "import logging\n", "")
    change(handler, "\nlogger = logging.getLogger(__name__)\n\n", "\n")
    change(project.path / "queues.yaml", "    enable_dlq: true\n", "    enable_dlq: true\n    prefetch: 50\n")
    change(project.path / "app/main.py", "app = FastAPI(", 'MINE = "a constant"\n\napp = FastAPI(')
    change(project.path / "pyproject.toml", "dependencies = [\n", 'dependencies = [\n    "httpx2>=2.0",\n')
    test = project.path / "tests/handlers/test_user_channel.py"
    change(test, '{"type": "send_audio"}', '{"type": "send_audio", "user_id": 1}')
    commit(project.path, "Our work")
    before = {name: project.read(name) for name in ("app/queue/handlers/user_channel.py", "app/main.py")}

    # The template's next release: the core, a stub's shape, the grammar's module, a new file.
    service = repository / "{{cookiecutter.project_slug}}"
    change(service / "app/queue/policy.py", "MAX_CRASHES = 6", "MAX_CRASHES = 7")
    change(repository / "hooks/post_gen_project.py", "Return: the message is done.", "Return: the message is finished.")
    change(repository / "queue_template_extension.py", "MAX_NAME = 48", "MAX_NAME = 40")
    (service / "app/queue/new_part.py").write_text('"""A new part."""\n', encoding="utf-8")
    commit(repository, "Release 2")
    run(project.path, "cruft", "update", "--skip-apply-ask", "--allow-untracked-files")
    assert no_conflict(project)
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert "app/queue/new_part.py" in project.files()
    # The stub's new docstring is taken in, and every line of the user's is still there.
    before = {name: text.replace("the message is done.", "the message is finished.") for name, text in before.items()}
    assert {name: project.read(name) for name in before} == before
    commit(project.path, "Release 2 of the template")

    # A queue more.
    answers = json.loads(project.read(".cruft.json"))["context"]["cookiecutter"]
    assert answers["queues"] == "user_channel: send_audio"
    more = {"queues": "user_channel: send_audio; orders: order.created"}
    run(project.path, "cruft", "update", "--skip-apply-ask", "--variables-to-update", json.dumps(more))
    assert no_conflict(project)
    assert {name: project.read(name) for name in before} == before
    queues = {queue["name"]: queue for queue in yaml.safe_load(project.read("queues.yaml"))["queues"]}
    assert set(queues) == {"user_channel", "orders"}
    assert queues["user_channel"]["prefetch"] == 50
    assert '@message_type("order.created")' in project.read("app/queue/handlers/orders.py")
    assert '"httpx2>=2.0",' in project.read("pyproject.toml")
    project.run("ruff", "check", "--no-cache", ".")
    project.run("mypy", "--cache-dir", "/dev/null")
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/test_service.py", "tests/handlers")
    project.run_core_tests(str(CORE_TESTS / "service"))


def test_the_new_commit_is_rendered_with_the_new_extension(repository: Path, tmp_path: Path) -> None:
    run(tmp_path, "cruft", "create", "--no-input", str(repository))
    project = Project(tmp_path / "queue-service")
    run(project.path, "git", "init", "--quiet")
    commit(project.path, "From the template")
    # The same size, so that stale bytecode would not be noticed either.
    change(repository / "queue_template_extension.py", 'f"{_camel(method)}Message"', 'f"{_camel(method)}Payload"')
    commit(repository, "Release 2")
    run(project.path, "cruft", "update", "--skip-apply-ask")
    assert "class SendAudioPayload(" in project.read("app/queue/handlers/user_channel.py")


def test_crufts_other_commands_agree_with_what_the_tool_did(repository: Path, tmp_path: Path) -> None:
    run(tmp_path, "cruft", "create", "--no-input", str(repository))
    project = Project(tmp_path / "queue-service")
    run(project.path, "git", "init", "--quiet")
    commit(project.path, "From the template")
    publish(repository, RELEASES[0])
    run(project.path, "cruft", "check", code=1)
    script(project, "update", "--yes")
    commit(project.path, "Updated")
    script(project, "add-queue", "--yes", "more")
    commit(project.path, "More")
    run(project.path, "cruft", "check")
    # What was added is no answer yet, so cruft shows it as the project's own.
    assert run(project.path, "cruft", "diff", "--exit-code", code=1).count("diff --git") == 1
    script(project, "set", "--yes", "max_attempts=7")
    run(project.path, "cruft", "diff", "--exit-code")
    change(project.path / "app/queue/policy.py", "MAX_CRASHES = 7", "MAX_CRASHES = 8")
    run(project.path, "cruft", "diff", "--exit-code", code=1)


@pytest.mark.parametrize("description", ["plain", "{{ 7 * 7 }} and {% raw %}"])
def test_the_tree_of_cruft_is_the_tree_of_cookiecutter(
    repository: Path, tmp_path: Path, bake: Bake, description: str
) -> None:
    answers = {"description": description, "queues": "a: b; c@memory!nodlq"}
    run(tmp_path, "cruft", "create", "--no-input", "--extra-context", json.dumps(answers), str(repository))
    made, baked = Project(tmp_path / "queue-service"), bake(**answers)
    assert made.files() - {".cruft.json"} == baked.files()
    assert {name: made.read(name) for name in baked.files()} == {name: baked.read(name) for name in baked.files()}


def no_conflict(project: Project) -> bool:
    """cruft exits with 0 when it leaves conflicts, so its word is not enough."""
    assert not [name for name in project.files() if name.endswith((".rej", ".orig"))]
    assert "\nU" not in "\n" + run(project.path, "git", "status", "--porcelain")
    return not any("\n<<<<<<< " in project.read(name) for name in project.files() if not name.startswith(".git/"))
