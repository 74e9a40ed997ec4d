"""Each contract of `importlinter.toml` notices its breach: a copy of the service with one import too many."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SERVICE = ROOT / "{{cookiecutter.project_slug}}"
BREACHES = {
    "Eight floors": ("messages/message.py", "import app.queue.settings.queues"),
    "Publishing over HTTP": ("health_check.py", "import app.queue.api"),
    "The sides don't know each other": ("publishing.py", "import app.queue.consume.pause"),
    "A provider says what its broker does": ("providers/memory/broker.py", "import app.queue.policy"),
    "The inner wings know neither HTTP": ("messages/body.py", "import fastapi"),
    "Each broker's library": ("broker/publisher.py", "import aiormq"),
    "No circle of imports": ("messages/message.py", "import app.queue.messages.headers"),
    "Nothing imports a provider": ("config.py", "import app.queue.providers.memory.broker"),
    "What handlers are tested with": ("dlq.py", "import app.queue.testing"),
    "Time and chance come from": ("consume/settlement.py", "import random"),
    "No provider imports another": ("providers/redis/scripts.py", "import app.queue.providers.memory.broker"),
}
"""For the beginning of a contract's name: the module that breaks it, and the line that does."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The service's package, to be broken."""
    shutil.copytree(SERVICE / "app", tmp_path / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def contracts(folder: Path) -> dict[str, bool]:
    """Whether each contract is kept, by its name."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", str(ROOT / "importlinter.toml")]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={"COLUMNS": "500"})
    lines = [line.split(" (")[0].rstrip() for line in done.stdout.splitlines()]
    found = {line.rpartition(" ")[0]: line.endswith(" KEPT") for line in lines if line.endswith((" KEPT", " BROKEN"))}
    assert found, done.stdout + done.stderr
    return found


def test_every_contract_is_kept_and_has_a_breach_here(copy: Path) -> None:
    found = contracts(copy)
    assert all(found.values())
    assert all(any(name.startswith(start) for start in BREACHES) for name in found)
    assert len(found) == len(BREACHES)


@pytest.mark.parametrize("start", BREACHES)
def test_a_breach_of_the_contract_is_noticed(copy: Path, start: str) -> None:
    module, line = BREACHES[start]
    with (copy / "app/queue" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    assert [kept for name, kept in contracts(copy).items() if name.startswith(start)] == [False]
