"""What the documents say of the providers is what the providers claim."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROMISES = ROOT / "{{cookiecutter.project_slug}}" / "docs" / "promises.md"
GUIDE = PROMISES.with_name("adding-a-provider.md")
KINDS = ("rabbitmq", "redis", "nats", "memory")
"""In the order of README's columns."""


ASK = """
import dataclasses, json, sys
from app.queue.providers import find_provider
print(json.dumps(dataclasses.asdict(find_provider(sys.argv[1]).claims)))
"""
"""Run in the project's folder: its package is called `tests`, as this one is."""


@functools.cache
def claims(kind: str) -> dict[str, bool]:
    project = PROMISES.parents[1]
    asked = subprocess.run([sys.executable, "-c", ASK, kind], cwd=project, capture_output=True, text=True, check=True)
    return cast("dict[str, bool]", json.loads(asked.stdout))


@pytest.mark.parametrize("kind", KINDS)
def test_the_projects_table_has_each_claim_of_each_provider(kind: str) -> None:
    cells = ["yes" if claimed else "no" for claimed in claims(kind).values()]
    assert f"| `{kind}` | {' | '.join(cells)} |" in PROMISES.read_text().splitlines()


def test_the_guide_names_every_claim() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \|", GUIDE.read_text(), re.MULTILINE)
    assert set(claims("memory")) <= set(re.findall(r"[a-z_]+", " ".join(rows)))


@pytest.mark.parametrize(
    ("row", "claim", "words"),
    [
        ("messages outlive the service", "outlives_process", r"yes"),
        ("… and a `kill -9` of the broker", "outlives_broker", r"yes|with .*"),
        ("a crash while a message is moved", "moves_in_one_step", r"leaves it in one place.*"),
        ("a client's repeat (`X-Message-Id`)", "drops_repeats", r"dropped by the server.*"),
        ("several instances share a queue", "outlives_process", r"yes"),
        ("says that it takes no messages", "says_blocked", r"(?!has no limit).+"),
    ],
)
def test_the_readmes_table_says_what_the_providers_claim(row: str, claim: str, words: str) -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith(f"| {row} |")]
    (line,) = lines
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
    said = [re.fullmatch(words, cell) is not None for cell in cells]
    assert dict(zip(KINDS, said, strict=True)) == {kind: claims(kind)[claim] for kind in KINDS}
