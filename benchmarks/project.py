"""Bakes the project that is measured: the default answers, except for the names of the queues."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.export import export

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"

HANDLER = '''"""Handlers of one queue. The model and what is done with a message are the same for every contender."""

from benchmarks.workload import Work, handle


class {name}Handler:
    async def work(self, message: Work) -> None:
        await handle(message)
'''

SETTINGS = """
    prefetch: ${PREFETCH}
    concurrency: ${CONCURRENCY}
    queue_type: ${QUEUE_TYPE}"""


def bake(name: str, queues: list[str], threads: int | None = None) -> Path:
    """A project with these queues, each with one message type `work`; `threads`: not the default number of them.

    Returns its folder.
    """
    template = export(BUILD / "template")
    shutil.rmtree(BUILD / name, ignore_errors=True)
    subprocess.run(
        [
            *(sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir", BUILD, template),
            *(f"project_slug={name}", f"queues={'; '.join(f'{queue}: work' for queue in queues)}"),
        ],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    project = BUILD / name
    for queue in queues:
        module = project / "app" / "queue" / "handlers" / f"{queue}.py"
        assert module.is_file(), f"{module} was not baked"
        module.write_text(HANDLER.format(name=queue.title().replace("_", "")), encoding="utf-8")
    file = project / "queues.yaml"
    text = file.read_text(encoding="utf-8")
    changed = text.replace("\n    enable_dlq: true", "\n    enable_dlq: true" + SETTINGS)
    assert changed.count(SETTINGS) == len(queues), "queues.yaml has another form than this benchmark knows"
    if threads is not None:
        changed += f"consumer_threads: {threads}\n"
    file.write_text(changed, encoding="utf-8")
    return project
