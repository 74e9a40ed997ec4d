"""What schemathesis makes of the OpenAPI document."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from core_tests.faults.conftest import WriteRow
from core_tests.faults.world import World
from core_tests.tools.process import API_KEY, ServiceProcess
from core_tests.tools.rabbitmq_queues import drain

FAULT = "schemathesis, by the OpenAPI document"


def by_the_document(world: World, row: WriteRow) -> None:
    """With the key and without it, at a service that handles no messages."""
    service = world.service(enable_consumer=False)
    service.start()
    for key, expected in ((API_KEY, {202, 207, 401, 422}), ("", {401})):
        said, entries = run_schemathesis(service, world.queue, key)
        posts = [entry["response"] for entry in entries if entry["request"]["method"] == "POST"]
        answered = Counter(answer["status"] for answer in posts if answer["status"] != 405)
        accepted = Counter(
            one["message_id"]
            for answer in posts
            if answer["status"] in (202, 207)
            for one in results(json.loads(answer["content"]["text"]), answer["status"])
            if one["status"] == 202
        )
        found = Counter(properties.message_id for properties, _ in drain(world.node.url, world.queue))
        way = "with the key" if key else "without a key"
        row(
            FAULT,
            f"{way}, it finds nothing that the document does not say",
            said,
            said.startswith("No issues found") and {*answered} == expected,
        )
        row(
            FAULT,
            f"{way}, what was answered 202 is in the queue, and nothing else",
            f"{answered.total()} publishes: {accepted.total()} accepted, {found.total()} there",
            found == accepted,
        )


def results(content: dict[str, Any], status: int) -> list[dict[str, Any]]:
    """What became of the messages of a request: of each of a batch, or of the one."""
    found: list[dict[str, Any]] = content.get("messages", [{**content, "status": status}])
    return found


def run_schemathesis(service: ServiceProcess, queue: str, key: str) -> tuple[str, list[dict[str, Any]]]:
    """What it says last, and all requests with their answers. It is a program, in a folder that it may write to."""
    program = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None, "schemathesis is not installed: `make test-faults` does it"
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "schemathesis.toml").write_text(f'[parameters]\n"path.queue" = "{queue}"\n')
        command = [program, "--no-color", "run", f"http://127.0.0.1:{service.port}/openapi.json"]
        command += [*("--header", f"X-API-Key: {key}")] if key else []
        command += ["--seed", "1", "--max-examples", "40", "--request-timeout", "20", "--warnings", "off"]
        command += ["--report", "har", "--report-har-path", "report.har"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        print(done.stdout, done.stderr)
        report = json.loads(Path(folder, "report.har").read_text())
    return done.stdout.strip().splitlines()[-1].strip("= "), report["log"]["entries"]
