"""The examples of the READMEs are true: the project's run when they are pasted, the template's is what is generated."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Bake, Project

SERVE = """
import logging, time
from fastapi.testclient import TestClient
logging.basicConfig(level=logging.INFO, format="%(message)s")
from app.main import app
with TestClient(app) as client:
    sent = client.post("/queues/user_channel/messages", json={"type": "send_audio"}, headers={"X-API-Key": "k"})
    assert sent.status_code == 202, sent.text
    if [route for route in app.routes if getattr(route, "path", "") == "/engine"]:
        assert client.get("/engine").json() == "AsyncEngine"
    time.sleep(1)
"""
POOL = """
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from fastapi import Request

URL = "postgresql+asyncpg://"


class AsyncEngine:
    async def dispose(self) -> None:
        print("disposed")


def create_async_engine(url: str) -> AsyncEngine:
    return AsyncEngine()
"""
ROUTE = """

@app.get("/engine")
async def engine(request: Request) -> str:
    return type(request.state.engine).__name__
"""


@pytest.fixture
def project(default_project: Project, tmp_path: Path) -> Project:
    """A copy of the default project, to be edited."""
    shutil.copytree(default_project.path, tmp_path / "project")
    return Project(tmp_path / "project")


def paste(project: Project, before: str, heading: str, after: str = "") -> None:
    """Put the examples under a heading of the README into `main.py`, in the place of its own application."""
    section = project.read("README.md").partition(f"**{heading}.**")[2]
    section = re.split(r"^\*\*[A-Z][^*]*\.\*\* ", section, maxsplit=1, flags=re.MULTILINE)[0]
    examples = re.findall(r"^```python\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert examples
    main = project.path / "app" / "main.py"
    kept = re.sub(r"^app = .*\n", "", main.read_text(encoding="utf-8"), flags=re.MULTILINE)
    kept = re.sub(r"^app\..*\n", "", kept, flags=re.MULTILINE)
    main.write_text("\n".join([kept, before, *examples, after]), encoding="utf-8")


def served(project: Project) -> str:
    """What the service prints while it handles a message."""
    return project.run("python", "-c", SERVE, QUEUE_PROVIDER="memory", API_KEY="k")


def test_a_middleware_as_the_readme_writes_it_is_called(project: Project) -> None:
    paste(project, "", "Middleware")
    assert re.search(r"^[0-9a-f]{32}: ack$", served(project), re.MULTILINE)


def test_a_pool_for_routes_as_the_readme_writes_it_is_opened_and_closed(project: Project) -> None:
    paste(project, POOL, "Open a database pool", ROUTE)
    assert "disposed" in served(project)


def test_the_handler_in_the_templates_readme_is_the_one_that_is_generated(bake: Bake) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```python\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    module = bake(queues="user_channel: send_audio").read("app/queue/handlers/user_channel.py")
    assert module.endswith(example)
