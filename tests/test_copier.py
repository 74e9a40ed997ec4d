"""copier makes and updates the tree that cookiecutter and cruft make: real copier, real releases."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from queue_template_extension import UNASKED
from tests.conftest import ANSWERS_FILE, ROOT, TOOLS, Bake, Project
from tests.releases import RELEASES, SERVICE, make_repository, publish
from tests.repository import commit, environment, run
from tests.test_answers import HOSTILE
from tests.touched import touch

TRUSTED = ("--trust", "--defaults", "--quiet")
QUEUES = "user_channel: send_audio; orders@redis: order.created"
WRONG = [
    ("project_slug=con", "project_slug: 'con' can't be a folder's name on Windows"),
    ("description=bell \x07", "description: must have no control characters"),
    ("provider=kafka", "provider: 'kafka' must be one of rabbitmq, redis, nats, memory"),
    ("queues=a; a", "queues: queue 'a' is there twice"),
    ("dead_letter_queues=maybe", "dead_letter_queues: 'maybe' must be one of yes, no"),
    ("max_attempts=0", "max_attempts: '0' must be a whole number from 1 to 1000"),
    ("dlq_retry_interval=-1", "dlq_retry_interval: '-1' must be a whole number from 0 to 2592000"),
    ("polled_kit=maybe", "_polled_kit: 'maybe' must be yes or no"),
]


@pytest.fixture(scope="module")
def made(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the template, released as v0.1.0, and a project that copier made of it, committed."""
    folder = tmp_path_factory.mktemp("made")
    repository = make_repository(template, folder / "queue-template")
    run(folder, "copier", "copy", *TRUSTED, "--data", f"queues={QUEUES}", str(repository), "queue-service")
    run(folder / "queue-service", "git", "init", "--quiet", "--initial-branch", "main")
    commit(folder / "queue-service", "From the template")
    return folder


@pytest.fixture
def repository(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "queue-template", tmp_path / "queue-template")


@pytest.fixture
def project(made: Path, repository: Path, tmp_path: Path) -> Project:
    project = Project(shutil.copytree(made / "queue-service", tmp_path / "queue-service"))
    said = project.read(ANSWERS_FILE).replace(str(made / "queue-template"), str(repository))
    (project.path / ANSWERS_FILE).write_text(said, encoding="utf-8")
    run(project.path, "git", "commit", "--quiet", "--all", "--amend", "--no-edit")
    return project


def test_it_asks_what_cookiecutter_asks() -> None:
    asked = [name for name in yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8")) if name[0] != "_"]
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    assert asked == [name.lstrip("_") for name in questions if name[0] != "_" or name in UNASKED]


@pytest.mark.parametrize(
    "answers",
    [
        {"project_name": "São Paulo", "_polled_kit": "yes", "queues": "a@redis"},
        dict.fromkeys(("project_name", "description", "author"), " ".join(HOSTILE.values())[:900])
        | {"project_slug": "hostile"},
    ],
    ids=["unasked", "hostile"],
)
def test_the_tree_of_copier_is_the_tree_of_cookiecutter(bake: Bake, copy: Bake, answers: dict[str, str]) -> None:
    copied, baked = copy(**answers), bake(**answers)
    said = yaml.safe_load(copied.read(ANSWERS_FILE))
    assert {name: said[name.lstrip("_")] for name in answers} == answers
    assert said["project_slug"] == baked.path.name
    made = copied.content()
    del made[ANSWERS_FILE]
    assert made == baked.content()


def test_python_that_looks_like_jinja_is_copied_as_it_is(template: Path, tmp_path: Path) -> None:
    source = '"""{{ cookiecutter.author }} {% raw %} {# """\nNAME = "\\n é 🐇 \\u2028"\n'
    shutil.copytree(template, tmp_path / "template")
    (tmp_path / "template" / SERVICE / "app/braces.py").write_text(source, encoding="utf-8")
    run(tmp_path, "copier", "copy", *TRUSTED, str(tmp_path / "template"), "project")
    assert (tmp_path / "project/app/braces.py").read_text(encoding="utf-8") == source


@pytest.mark.parametrize(("answer", "said"), WRONG, ids=[answer.partition("=")[0] for answer, _ in WRONG])
def test_a_wrong_answer_costs_one_line_and_leaves_nothing(
    template: Path, tmp_path: Path, answer: str, said: str
) -> None:
    lines = run(tmp_path, "copier", "copy", *TRUSTED, "--data", answer, str(template), "project", code=1).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"Error: {said}")
    assert list(tmp_path.iterdir()) == []


def test_without_its_task_or_trust_it_makes_nothing(template: Path, tmp_path: Path) -> None:
    said = run(tmp_path, "copier", "copy", *TRUSTED, "--skip-tasks", str(template), "project", code=1)
    assert said.splitlines() == ["Error: without its task copier writes no handlers: leave --skip-tasks out"]
    said = run(tmp_path, "copier", "copy", "--defaults", str(template), "project", code=4)
    assert "consider adding the `--trust` option" in said
    assert list(tmp_path.iterdir()) == []


def test_a_person_is_told_below_the_question_and_asked_again(template: Path, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty", reason="a terminal is needed to type in, and Windows has none")
    user, terminal = pty.openpty()
    given = [part for name in ("project_name=A", "provider=redis") for part in ("--data", name)]
    command = [str(TOOLS / "copier"), "copy", "--trust", "--quiet", *given, str(template), str(tmp_path / "project")]
    streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
    with subprocess.Popen(command, env={**environment(), "TERM": "xterm"}, **streams) as started:
        os.close(terminal)
        said = ""
        for shown, typed in (
            ("Folder and package name", "\r"),
            ("One sentence", "\r"),
            ("Author", "\r"),
            ("Queues and their", "\x15Orders\r"),  # first the default is deleted
            ("queue name 'Orders' must have", "\x15orders\r"),
            ("Dead-letter queues", "\r"),
            ("Failed handler calls", "\r"),
            ("Seconds between passes", "\r"),
        ):
            while shown not in said:
                assert select.select([user], [], [], 60)[0], said
                said += os.read(user, 65536).decode(errors="replace")
            said = said.partition(shown)[2]
            os.write(user, typed.encode())
        try:
            while os.read(user, 65536):
                pass
        except OSError:  # it has ended
            pass
    os.close(user)
    assert started.returncode == 0
    assert (tmp_path / "project/app/queue/handlers/orders.py").is_file()


def test_an_update_takes_in_releases_and_keeps_what_the_user_wrote(project: Project, repository: Path) -> None:
    lines = touch(project.path)
    commit(project.path, "Work")
    for release in RELEASES[:-1]:  # the last one appends to what the user appended to
        publish(repository, release)
    update(project)
    assert "MAX_CRASHES = 7" in project.read("app/queue/policy.py")
    assert (project.path / "app/queue/new_part.py").is_file()
    assert "the message is finished" in project.read("app/queue/handlers/orders.py")
    assert not (project.path / "README.pt-BR.md").exists()
    assert lost(project, lines) == []
    commit(project.path, "Updated")
    update(project, "--data", f"queues={QUEUES}; more@nats: more.made")
    assert '@message_type("more.made")' in project.read("app/queue/handlers/more.py")
    assert (project.path / "app/queue/providers/nats").is_dir()
    assert lost(project, lines) == []
    commit(project.path, "More")
    lines_said = run(project.path, "copier", "update", *TRUSTED, "--data", "queues=Wrong", code=1).splitlines()
    assert len(lines_said) == 1
    assert lines_said[0].startswith("Error: queues: queue name 'Wrong' must have")
    assert run(project.path, "git", "status", "--porcelain") == ""


def test_an_untouched_project_is_a_fresh_bake_after_an_update(
    project: Project, repository: Path, tmp_path: Path
) -> None:
    for release in RELEASES:
        publish(repository, release)
    update(project, "--data", "queues=user_channel: send_audio, send_text; more@nats: more.made")
    queues = "user_channel: send_audio, send_text; more@nats: more.made"
    run(tmp_path, "cookiecutter", "--no-input", "--output-dir", "fresh", str(repository), f"queues={queues}")
    commit(project.path, "Updated")
    run(project.path, "git", "clean", "--force", "-d", "-x")
    shutil.rmtree(project.path / ".git")
    updated = project.content()
    del updated[ANSWERS_FILE]
    assert updated == Project(tmp_path / "fresh/queue-service").content()


def test_the_task_writes_over_what_is_there_only_if_copier_was_told_to(project: Project) -> None:
    handler = project.path / "app/queue/handlers/orders.py"
    stub = handler.read_text(encoding="utf-8")
    handler.write_text("mine\n", encoding="utf-8")
    task = (sys.executable, "-B", str(ROOT / "hooks/copier_task.py"))
    said = run(project.path, *task, "False")
    assert said.splitlines() == ["Stays as it is: app/queue/handlers/orders.py"]
    assert handler.read_text(encoding="utf-8") == "mine\n"
    run(project.path, *task, "True")
    assert handler.read_text(encoding="utf-8") == stub


def update(project: Project, *arguments: str) -> None:
    run(project.path, "copier", "update", *TRUSTED, *arguments)
    assert "\nU" not in "\n" + run(project.path, "git", "status", "--porcelain")


def lost(project: Project, lines: dict[str, list[str]]) -> list[str]:
    """The user's lines that are no longer there."""
    return [
        f"{name}: {line}"
        for name, wanted in lines.items()
        for line in wanted
        if not any(found.startswith(line) for found in project.read(name).splitlines())
    ]
