"""Wrong answers are stopped with one line; answers of any kind stay data."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import CORE_TESTS, TOOLS, Bake

WRONG = [
    ({"project_slug": "My Slug"}, "project_slug: 'My Slug' must have small letters"),
    ({"project_slug": "../escape"}, "project_slug: '../escape' must have small letters"),
    ({"project_slug": ""}, "project_slug: '' must have small letters"),
    ({"project_slug": "con"}, "project_slug: 'con' can't be a folder's name on Windows"),
    ({"project_slug": "x" * 65}, "64 characters at most"),
    ({"project_slug": "a\nb"}, "project_slug: 'a\\nb' must have"),
    ({"description": "bell \x07"}, "description: must have no control characters"),
    ({"author": "\x00"}, "author: must have no control characters"),
    ({"author": "x" * 1001}, "1000 characters at most"),
    ({"project_slug": "fastapi"}, "project_slug: 'fastapi' is a library that the project needs"),
    ({"project_slug": "aio_pika"}, "project_slug: 'aio_pika' is a library that the project needs"),
    ({"queues": "a: import"}, "queues: queue 'a': type 'import' is a Python keyword, and so can't be a public method"),
    ({"queues": ""}, "queues: there is an empty queue. Right is, for example: user_channel: send_audio"),
    ({"queues": "Users"}, "queues: queue name 'Users' must have small letters"),
    ({"queues": "a@kafka"}, "queues: queue 'a': no provider 'kafka'; there are rabbitmq, redis, nats, memory"),
    ({"queues": "a: x y"}, "queues: queue 'a': type 'x y' must be identifiers"),
    ({"queues": "a; a"}, "queues: queue 'a' is there twice"),
    ({"_polled_kit": "maybe"}, "_polled_kit: 'maybe' must be yes or no"),
    ({"max_attempts": "0"}, "max_attempts: '0' must be a whole number from 1 to 1000"),
    ({"max_attempts": "many"}, "max_attempts: 'many' must be a whole number"),
    ({"max_attempts": "1001"}, "max_attempts: '1001' must be a whole number"),
    ({"max_attempts": "1.5"}, "max_attempts: '1.5' must be a whole number"),
    ({"max_attempts": "٣"}, "max_attempts: '٣' must be a whole number"),
    (
        {"dlq_retry_interval": "-1"},
        "dlq_retry_interval: '-1' must be a whole number from 0 to 2592000. Right is, for example: 300",
    ),
]

HOSTILE = {
    "quotes": """it's "quoted" '''thrice''' \"\"\"and again\"\"\" `ticked`""",
    "newline": "first line\nsecond line\n# third\n- fourth",
    "backslash": r"C:\new\table \u0041 \N{BULLET} \\",
    "jinja": "{{ cookiecutter.author }} {% raw %} {# #} {{ 7 * 7 }} {{ cycler.__init__.__globals__.os.getcwd() }}",
    "shell": "$(touch /tmp/queue-template-was-here) `id` ; rm -rf ~ && ${HOME} %PATH%",
    "python": "'; import os; os.system('touch queue-template-was-here'); '",
    "yaml": "- a: [b, {c: &d e}] # no\n---\n!!python/object:os.system x: | >",
    "markup": "# <script>alert(1)</script> [link](javascript:x) | ~~no~~ **bold**",
    "unicode": "Größe 日本語 🐇✉️ مرحبا \u2028 \u200f e\u0301",
}


@pytest.mark.parametrize(("answers", "said"), WRONG, ids=[said[:60] for _, said in WRONG])
def test_a_wrong_answer_costs_one_line_and_leaves_nothing(
    template: Path, tmp_path: Path, answers: dict[str, str], said: str
) -> None:
    extra = [f"{name}={value}" for name, value in answers.items()]
    if any("\x00" in item for item in extra):
        replay = tmp_path / "answers.yaml"  # no command line can hold it
        replay.write_text(json.dumps({"default_context": answers}))
        extra = ["--config-file", str(replay)]
        command = [*extra, "--no-input", str(template)]
    else:
        command = ["--no-input", str(template), *extra]
    out = tmp_path / "out"
    out.mkdir()
    done = subprocess.run(
        [str(TOOLS / "cookiecutter"), "--output-dir", str(out), *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lines = (done.stdout + done.stderr).splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    assert said in lines[0]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_text_as_name_description_and_author_stays_data(bake: Bake, kind: str) -> None:
    text = HOSTILE[kind]
    project = bake(project_name=text, project_slug="hostile", description=text, author=text)
    pyproject = tomllib.loads(project.read("pyproject.toml"))["project"]
    assert pyproject["description"] == " ".join(text.split())
    assert pyproject["authors"] == [{"name": " ".join(text.split())}]
    project.check_every_file(answers_hold_jinja=True)
    title = project.read("README.md").splitlines()[2]
    assert title.startswith("# ")
    assert "<script>" not in title.replace("\\<", "")
    assert not Path("/tmp/queue-template-was-here").exists()
    assert not [name for name in project.files() if "was-here" in name]


def test_a_project_with_all_hostility_at_once_installs_and_passes_its_tests(bake: Bake) -> None:
    text = " ".join(HOSTILE.values())[:900]
    project = bake(project_name=text, project_slug="hostile", description=text, author=text)
    project.run("ruff", "check", "--no-cache", ".")
    project.run("uv", "lock", "--quiet")
    project.run("pytest", "-q", "-p", "no:cacheprovider")
    project.run_core_tests("-n", "2", str(CORE_TESTS / "unit"))
