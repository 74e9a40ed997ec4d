"""The page that says how the generated service is built tells the truth about its files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT, Bake

SERVICE = ROOT / "{{cookiecutter.project_slug}}"
QUEUE = SERVICE / "app" / "queue"
PAGE = (SERVICE / "docs" / "architecture.md").read_text(encoding="utf-8")
GLOSSARY = PAGE[PAGE.index("## The words") :]
NAMES = sorted(set(re.findall(r"`([a-z_/<>*]+(?:\.py|/))`", PAGE)))
PROVIDERS = sorted(file.parent.name for file in QUEUE.glob("providers/*/__init__.py") if file.parent.name != "memory")
"""Those with a broker. The embedded one has all its parts in one file, and the page says so."""


def named(name: str) -> list[Path]:
    """The files or folders that a name on the page stands for."""
    if "<type>" in name:
        return [QUEUE / name.replace("<type>", provider) for provider in PROVIDERS]
    if name == "handlers/<queue>.py":
        return [QUEUE / "handlers" / "register_handlers.py"]  # those of the queues are written at the bake
    return [QUEUE / name if name != "app/queue/" else QUEUE]


@pytest.mark.parametrize("name", NAMES)
def test_every_file_that_the_page_names_is_there(name: str) -> None:
    assert [path for path in named(name) if not path.exists()] == []


@pytest.mark.parametrize("answers", [{}, {"_polled_kit": "yes"}, {"provider": "nats"}], ids=str)
def test_a_project_has_every_file_of_the_kit_that_its_page_names(bake: Bake, answers: dict[str, str]) -> None:
    project = bake(**answers)
    names = set(re.findall(r"`(broker/[a-z_]+\.py)`", project.read("docs/architecture.md")))
    assert {f"app/queue/{name}" for name in names} <= project.files()
    assert ("broker/consumer.py" in names) == ("app/queue/broker/consumer.py" in project.files())


def test_every_file_and_every_wing_of_the_top_is_on_the_page() -> None:
    top = {path.name for path in QUEUE.glob("[a-z]*.py")}
    wings = {f"{path.parent.name}/" for path in QUEUE.glob("*/__init__.py")}
    assert (top | wings) - set(NAMES) == set()


def test_every_file_on_the_way_of_a_message_is_on_the_page() -> None:
    for wing in ("consume", "run"):
        files = {f"{wing}/{path.name}" for path in (QUEUE / wing).glob("[a-z]*.py")}
        assert files - set(NAMES) == set(), wing


def test_the_floors_are_those_that_import_linter_holds() -> None:
    contracts = tomllib.loads((ROOT / "importlinter.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    held = [sorted(re.split(r" [|:] ", layer)) for layer in layers]
    rows = re.findall(r"^\| (\d) \| (.*) \|$", PAGE[: PAGE.index("## The way")], re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(len(held), 0, -1))
    told = [[Path(name).stem for name in re.findall(r"`([a-z_]+(?:\.py|/))`", text)] for _, text in rows]
    assert [sorted(floor) for floor in told] == held


@pytest.mark.parametrize("word", ["in flight", "settle", "requeue", "dead-letter", "park", "redelivered", "quarantine"])
def test_the_glossary_has_the_words_that_need_it(word: str) -> None:
    assert f"\n| {word} | " in GLOSSARY


def test_the_page_and_its_words_are_linked_from_the_readme() -> None:
    readme = (SERVICE / "README.md").read_text(encoding="utf-8")
    assert "](docs/architecture.md)" in readme
    assert "](docs/architecture.md#the-words)" in readme
