"""A synthetic history of releases of the template, in which everything changes that a release can change."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.repository import commit, run

SERVICE = "{{cookiecutter.project_slug}}"


@dataclass(frozen=True)
class Release:
    """A release: `make` changes the template's tree."""

    version: str
    title: str
    make: Callable[[Path], None]
    breaking: str = ""


def change(file: Path, old: str, new: str) -> None:
    """Replace text that must be there."""
    text = file.read_text(encoding="utf-8")
    assert old in text, f"{file} has no {old!r}"
    file.write_text(text.replace(old, new), encoding="utf-8")


def core(root: Path) -> None:
    """Code that the template owns, and a new file of it."""
    change(root / SERVICE / "app/queue/policy.py", "MAX_CRASHES = 6", "MAX_CRASHES = 7")
    (root / SERVICE / "app/queue/new_part.py").write_text('"""A new part."""\n', encoding="utf-8")


def stub(root: Path) -> None:
    """The shape of handlers and of their tests."""
    hook = root / "hooks/post_gen_project.py"
    change(hook, "Return: the message is done.", "Return: the message is finished.")
    change(hook, "    async with handler_of(", "    # See app/queue/testing.py.\n    async with handler_of(")


def queues_yaml(root: Path) -> None:
    """A key more in each entry, and another comment."""
    file = root / SERVICE / "queues.yaml"
    change(file, "# The queues of this service.", "# All queues of this service.")
    change(file, "    enable_dlq:", "    concurrency: 10\n    enable_dlq:")


def extension(root: Path) -> None:
    """An edit of the same size, so that stale bytecode would be noticed too."""
    change(root / "queue_template_extension.py", "ensure_ascii=False, indent=2)", "ensure_ascii=False, indent=4)")


def hook(root: Path) -> None:
    """A step more, which writes a file, and other text in one that it writes."""
    file = root / "hooks/post_gen_project.py"
    step = "    write(Path('docs/queues.md'), '\\n'.join(['# Queues', *(q['name'] for q in PLAN['queues'])]) + '\\n')\n"
    change(file, "    say_what_is_next()\n", f"{step}    say_what_is_next()\n")
    change(file, '"""How to test the handlers of', '"""This is how to test the handlers of')


def variable(root: Path) -> None:
    """A question more, whose answer is in a file."""
    file = root / "cookiecutter.json"
    questions = json.loads(file.read_text(encoding="utf-8"))
    first = {name: questions[name] for name in list(questions)[:3]}
    file.write_text(json.dumps(first | {"log_level": "INFO"} | questions, ensure_ascii=False), encoding="utf-8")
    with (root / "copier.yml").open("a", encoding="utf-8") as copier:
        copier.write("log_level: {type: str, default: \"{{ default_of('log_level') }}\"}\n")
    change(root / SERVICE / ".env.example", "# LOG_LEVEL=INFO", "LOG_LEVEL={{ cookiecutter.log_level }}")


def provider(root: Path) -> None:
    """A provider more, which nobody has chosen yet."""
    file = root / "cookiecutter.json"
    questions = json.loads(file.read_text(encoding="utf-8"))
    questions["provider"].append("kafka")
    file.write_text(json.dumps(questions, ensure_ascii=False), encoding="utf-8")
    change(root / "queue_template_extension.py", "PROVIDERS = (", 'PROVIDERS = ("kafka", ')
    change(root / "hooks/post_gen_project.py", "ONLY_WITH = {\n", 'ONLY_WITH = {\n    "kafka": ["app/queue/kafka"],\n')
    package = root / SERVICE / "app/queue/kafka"
    package.mkdir()
    (package / "__init__.py").write_text('"""Kafka."""\n', encoding="utf-8")


def removed_file(root: Path) -> None:
    """A file that the template no longer has."""
    (root / SERVICE / "README.pt-BR.md").unlink()
    change(root / SERVICE / "README.md", "[Português](README.pt-BR.md)\n\n", "")


def renamed_file(root: Path) -> None:
    """A module under another name, and all that imports it."""
    service = root / SERVICE
    (service / "app/queue/time_limit.py").rename(service / "app/queue/timeouts.py")
    for folder in ("app", "tests"):
        for file in (service / folder).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "app.queue.time_limit" in text:
                file.write_text(text.replace("app.queue.time_limit", "app.queue.timeouts"), encoding="utf-8")


def dependencies(root: Path) -> None:
    """A dependency more, others changed, and a line more in main.py and .gitignore."""
    file = root / SERVICE / "pyproject.toml"
    change(file, '"uvicorn>=0.38,<1", ', '"uvicorn>=0.38.0,<1", ')
    text = file.read_text(encoding="utf-8")
    file.write_text(
        re.sub(r'(    "tenacity[^\n]*\n)', r'\1    "anyio>=4",                       # structured concurrency\n', text),
        encoding="utf-8",
    )
    with (root / SERVICE / "app/main.py").open("a", encoding="utf-8") as main:
        main.write("app.state.template = True\n")
    with (root / SERVICE / ".gitignore").open("a", encoding="utf-8") as ignored:
        ignored.write("*.log\n")


RELEASES = [
    Release("0.2.0", "core code", core),
    Release("0.3.0", "a stub's shape", stub),
    Release("0.4.0", "queues.yaml", queues_yaml),
    Release("0.5.0", "the extension", extension),
    Release("0.6.0", "a hook", hook),
    Release("0.7.0", "a new variable", variable),
    Release("0.8.0", "a new provider", provider),
    Release("0.9.0", "a removed file", removed_file),
    Release("1.0.0", "a renamed file", renamed_file, breaking="Import `timeouts` instead of `time_limit`."),
    Release("1.1.0", "dependencies", dependencies),
]


def make_repository(template: Path, folder: Path, releases: list[Release] | None = None) -> Path:
    """The template in a git repository: v0.1.0 is what it is now; then come these releases, each with its tag."""
    shutil.copytree(template, folder)
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    changelog = folder / "CHANGELOG.md"
    changelog.write_text("# Changelog\n\n## 0.1.0\n\nThe first one.\n", encoding="utf-8")
    commit(folder, "Release 0.1.0")
    run(folder, "git", "tag", "v0.1.0")
    for release in releases or []:
        publish(folder, release)
    return folder


def publish(repository: Path, release: Release) -> None:
    """One release more."""
    release.make(repository)
    breaking = f"\n\n### Breaking\n\n- {release.breaking}" if release.breaking else ""
    news = f"## {release.version}\n\n### Changed\n\n- {release.title}{breaking}\n\n"
    change(repository / "CHANGELOG.md", "# Changelog\n\n", f"# Changelog\n\n{news}")
    commit(repository, f"Release {release.version}")
    run(repository, "git", "tag", f"v{release.version}")
