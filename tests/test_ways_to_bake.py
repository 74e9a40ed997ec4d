"""Every way to give answers ends in what the answers say, or in one line and nothing on disk."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import TOOLS, Bake, Project
from tests.releases import make_repository
from tests.repository import run

PROGRAM = """
import os, sys
from cookiecutter import generate
from cookiecutter.cli import main

written = generate.generate_file

def generate_file(project_dir, infile, *others):
    if infile == sys.argv[1]:
        {}
    written(project_dir, infile, *others)

generate.generate_file = generate_file
main(sys.argv[2:], prog_name="cookiecutter")
"""
"""cookiecutter, to which something happens when it comes to a file."""
FULL = "raise OSError(28, os.strerror(28))"
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals, modes and links")
PRESSED = "os.kill(os.getpid(), __import__('signal').SIGINT)"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def cookiecutter(home: Path, *arguments: object, code: int = 0, program: tuple[str, ...] = ()) -> str:
    """Call cookiecutter in a home of its own, whose sibling `out` the project goes to. Returns what it printed."""
    done = subprocess.run(
        [*(program or [str(TOOLS / "cookiecutter")]), "--output-dir", str(home.parent / "out"), *map(str, arguments)],
        cwd=home,
        env={**os.environ, "HOME": str(home), "USERPROFILE": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        input="",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def refused(home: Path, *arguments: object) -> str:
    """Call cookiecutter, which must say one line and make nothing. Returns the line."""
    before = tree(home.parent / "out")
    *warned, line = cookiecutter(home, *arguments, code=1).splitlines()
    assert [text for text in warned if "Invalid default received" not in text] == []  # cookiecutter's own
    assert line.startswith("Error: ")
    assert tree(home.parent / "out") == before
    return line


def tree(folder: Path) -> dict[str, bytes | None]:
    """All files and folders, with what they hold."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def replay(home: Path, changed: dict[str, Any], dropped: tuple[str, ...] = ()) -> Path:
    """The replay file of the last bake, with other answers, as somebody edits it."""
    (file,) = (home / ".cookiecutter_replay").glob("*.json")
    content = json.loads(file.read_text(encoding="utf-8"))
    content["cookiecutter"].update(changed)
    for name in dropped:
        del content["cookiecutter"][name]
    edited = home / "edited.json"
    edited.write_text(json.dumps(content), encoding="utf-8")
    return edited


@pytest.fixture
def replayed(template: Path, home: Path) -> Path:
    """A home with the replay file of a bake of the default answers, whose project is gone."""
    cookiecutter(home, "--no-input", template)
    shutil.rmtree(home.parent / "out")
    return home


def check_same(made: Path, project: Project) -> None:
    """The project is byte for byte the one that was made by answers on the command line."""
    assert tree_of(made) == tree_of(project.path)


def tree_of(folder: Path) -> dict[str, bytes | None]:
    return {str(Path(name).relative_to(folder)): content for name, content in tree(folder).items()}


def test_a_replay_file_that_was_edited_gives_what_its_answers_say(template: Path, bake: Bake, replayed: Path) -> None:
    answers = {"queues": "orders@redis!nodlq: order.created; mail", "provider": "nats", "max_attempts": "7"}
    edited = replay(replayed, {**answers, "max_attempts": 7, "__version": "0.0.1", "_copy_without_render": []})
    cookiecutter(replayed, "--replay-file", edited, template)
    check_same(replayed.parent / "out/queue-service", bake(**answers))


def test_a_replay_file_of_an_older_template_gives_what_its_answers_say(
    template: Path, bake: Bake, replayed: Path
) -> None:
    edited = replay(replayed, {}, dropped=("__check_slug", "__check_texts", "__check_queues", "__plan", "_polled_kit"))
    cookiecutter(replayed, "--replay-file", edited, template)
    check_same(replayed.parent / "out/queue-service", bake())


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"queues": "Users"}, "queues: queue name 'Users' must have small letters"),
        ({"queues": None}, "queues: null must be text"),
        ({"provider": "kafka"}, 'provider: "kafka" is none of: rabbitmq, redis, nats, memory'),
        ({"dead_letter_queues": False}, "dead_letter_queues: false is none of: yes, no"),
        ({"max_attempts": 0}, "max_attempts: '0' must be a whole number from 1 to 1000"),
        ({"author": ["A", "B"]}, 'author: ["A", "B"] must be text'),
        ({"project_slug": "../escape"}, "project_slug: '../escape' must have small letters"),
        ({"_polled_kit": True}, "_polled_kit: 'True' must be yes or no"),
    ],
)
def test_a_wrong_answer_in_a_replay_file_is_refused(
    template: Path, replayed: Path, answers: dict[str, Any], said: str
) -> None:
    assert said in refused(replayed, "--replay-file", replay(replayed, answers), template)


def test_answers_alone_are_a_replay_file_too(template: Path, bake: Bake, replayed: Path) -> None:
    private = [name for name in json.loads((template / "cookiecutter.json").read_text("utf-8")) if name[0] == "_"]
    edited = replay(replayed, {"queues": "orders"}, dropped=tuple(name for name in private if name != "__prompts__"))
    cookiecutter(replayed, "--replay-file", edited, template)
    check_same(replayed.parent / "out/queue-service", bake(queues="orders"))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("dead_letter_queues: no", "dead_letter_queues: false is none of: yes, no. In YAML and JSON, an answer"),
        ("provider: 5", "provider: 5 is none of: rabbitmq, redis, nats, memory"),
        ("author: null", "author: null must be text"),
        ("author: yes", "author: true must be text"),
        ("description: [a, b]", 'description: ["a", "b"] must be text'),
        ("max_attempts: 5.5", "max_attempts: '5.5' must be a whole number"),
    ],
)
def test_an_answer_in_the_users_configuration_that_can_not_be_one_is_refused(
    template: Path, home: Path, line: str, said: str
) -> None:
    (home / ".cookiecutterrc").write_text(f"default_context:\n  {line}\n", encoding="utf-8")
    assert said in refused(home, "--no-input", template)


def test_answers_in_the_users_configuration_may_be_numbers_and_be_for_other_templates(
    template: Path, bake: Bake, home: Path
) -> None:
    lines = ("max_attempts: 7", "dead_letter_queues: 'no'", "author: 5", "license: MIT", "use_docker: no")
    text = "\n  ".join(["default_context:", *lines])
    (home / ".cookiecutterrc").write_text(text, encoding="utf-8")
    cookiecutter(home, "--no-input", template)
    expected = bake(max_attempts="7", dead_letter_queues="no", author="5")
    check_same(home.parent / "out/queue-service", expected)


def test_an_answer_to_what_is_no_question_is_refused(template: Path, home: Path) -> None:
    said = refused(home, "--no-input", template, "queus=orders")
    assert "There is no answer 'queus'; there are: project_name, project_slug" in said
    assert "_polled_kit" in said


def test_without_hooks_nothing_is_made(template: Path, home: Path) -> None:
    assert "they write the handlers" in refused(home, "--no-input", "--accept-hooks", "no", template)


@pytest.mark.parametrize("options", [("-f",), ("-f", "-s")], ids=" ".join)
def test_a_bake_over_a_living_project_is_refused(template: Path, bake: Bake, home: Path, options: tuple[str]) -> None:
    project = home.parent / "out/queue-service"
    shutil.copytree(bake().path, project)
    (project / "app/queue/handlers/user_channel.py").write_text("mine = True\n")
    (project / "app/queue/providers/redis").mkdir()
    (project / "app/queue/providers/redis/__init__.py").write_text('"""A provider of my own."""\n')
    said = refused(home, "--no-input", *options, template)
    assert "has a project of this template already" in said
    assert "template.py update" in said


@pytest.mark.parametrize("options", [("-f",), ("-f", "-s")], ids=" ".join)
@pytest.mark.parametrize(
    "name", ["README.md", "app/queue/providers/redis/mine.py", "tests/handlers/test_user_channel.py", "app/main.py"]
)
def test_a_bake_over_a_file_of_somebody_elses_is_refused(
    template: Path, home: Path, options: tuple[str], name: str
) -> None:
    file = home.parent / "out/queue-service" / name
    file.parent.mkdir(parents=True)
    file.write_text("mine\n")
    assert "which the bake would write over" in refused(home, "--no-input", *options, template)


@POSIX
def test_a_bake_never_follows_a_link_out_of_its_folder(template: Path, home: Path) -> None:
    elsewhere = home.parent / "out/elsewhere"
    elsewhere.mkdir(parents=True)
    (home.parent / "out/queue-service").mkdir()
    (home.parent / "out/queue-service/docs").symlink_to(elsewhere, target_is_directory=True)
    assert "queue-service/docs, which" in refused(home, "--no-input", "-f", template)


@pytest.mark.parametrize("options", [("-f",), ("-f", "-s")], ids=" ".join)
def test_a_bake_goes_into_a_folder_with_other_files(
    template: Path, bake: Bake, home: Path, options: tuple[str]
) -> None:
    project = home.parent / "out/queue-service"
    (project / ".git").mkdir(parents=True)
    (project / "LICENSE").write_text("mine\n")
    (project / "LICENSE").chmod(0o444)
    cookiecutter(home, "--no-input", *options, template)
    assert (project / "LICENSE").read_text() == "mine\n"
    assert not (project / "LICENSE").stat().st_mode & stat.S_IWUSR
    (project / "LICENSE").chmod(0o644)
    (project / "LICENSE").unlink()
    (project / ".git").rmdir()
    check_same(project, bake())


@pytest.mark.parametrize("name", ["Makefile", "queues.yaml"])
def test_a_full_disk_costs_one_line_and_leaves_nothing(template: Path, home: Path, name: str) -> None:
    program = (sys.executable, "-c", PROGRAM.format(FULL), name)
    (line,) = cookiecutter(home, "--no-input", template, code=1, program=program).splitlines()
    assert line.startswith("Error: The project can't be written: ")
    assert "No space left on device" in line
    assert not (home.parent / "out").exists()


def test_a_full_disk_leaves_what_was_there_before(template: Path, home: Path) -> None:
    project = home.parent / "out/queue-service"
    (project / "docs").mkdir(parents=True)
    (project / "docs/mine.md").write_text("mine\n")
    before = tree(home.parent / "out")
    program = (sys.executable, "-c", PROGRAM.format(FULL), "queues.yaml")
    cookiecutter(home, "--no-input", "-f", template, code=1, program=program)
    assert tree(home.parent / "out") == before


def test_a_folder_that_can_not_be_made_costs_one_line(template: Path, home: Path) -> None:
    (home.parent / "out").write_text("a file")
    assert "The project can't be written: " in refused(home, "--no-input", template)


@POSIX
@pytest.mark.parametrize("name", ["Makefile", "queues.yaml"])
def test_ctrl_c_while_files_are_written_leaves_no_half_of_a_project(
    template: Path, bake: Bake, home: Path, name: str
) -> None:
    cookiecutter(home, "--no-input", template, program=(sys.executable, "-c", PROGRAM.format(PRESSED), name))
    check_same(home.parent / "out/queue-service", bake())


@POSIX
def test_ctrl_c_while_questions_are_asked_leaves_nothing(template: Path, home: Path) -> None:
    command = [str(TOOLS / "cookiecutter"), "--output-dir", str(home.parent / "out"), str(template)]
    environment = {**os.environ, "HOME": str(home)}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        said = b""
        while b"as people say it" not in said:
            said += (more := os.read(asking.stdout.fileno(), 1000))
            assert more, said
        asking.send_signal(signal.SIGINT)
        asking.communicate()
    assert asking.returncode == 1
    assert not (home.parent / "out").exists()


@POSIX
def test_a_template_that_is_read_only_and_byte_compiled_makes_the_same_project(
    template: Path, bake: Bake, home: Path
) -> None:
    installed = shutil.copytree(template, home.parent / "installed/queue-template")
    assert compileall.compile_dir(installed / "{{cookiecutter.project_slug}}/app/queue/settings", quiet=1)
    cached = Path(importlib.util.cache_from_source(str(installed / "queue_template_extension.py")))
    cached.mkdir(parents=True)  # what nobody can unlink, not even root
    for path in installed.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    cookiecutter(home, "--no-input", installed)
    made = home.parent / "out/queue-service"
    check_same(made, bake())
    assert not [path for path in made.rglob("*") if not path.stat().st_mode & stat.S_IWUSR]


def test_a_zip_of_the_template_makes_the_same_project(template: Path, bake: Bake, home: Path) -> None:
    zipped = shutil.make_archive(str(home / "queue-template"), "zip", template.parent, template.name)
    cookiecutter(home, "--no-input", zipped)
    check_same(home.parent / "out/queue-service", bake())


def test_a_clone_with_the_line_endings_of_windows_makes_the_same_project(
    template: Path, bake: Bake, home: Path
) -> None:
    repository = make_repository(template, home / "released/queue-template")
    run(home, "git", "clone", "--quiet", "--config", "core.autocrlf=true", str(repository), "queue-template")
    cookiecutter(home, "--no-input", home / "queue-template")
    check_same(home.parent / "out/queue-service", bake())
