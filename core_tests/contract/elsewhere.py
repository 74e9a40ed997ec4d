"""`python -m core_tests.contract.elsewhere QUEUE [DELAY]`: a process that has a message in flight, and is then killed.

`QUEUE` is an entry of `queues.yaml`, as JSON. With `DELAY`, in seconds, it first moves the message to a retry. It says
which message that was. The process shares nothing with the one that looks afterwards but the broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from app.queue.interfaces import Place
from app.queue.providers import find_provider
from core_tests.contract.broken.variants import VARIABLE, applied, breakable, variant_in_force
from core_tests.contract.subject import Inbox
from core_tests.tools.project import project, python_path

START_TIMEOUT = 60.0


@asynccontextmanager
async def holding(queue: Mapping[str, Any], delay: float | None = None) -> AsyncIterator[list[str]]:
    """Inside, such a process runs; it has the message of this id. At the end it is dead."""
    arguments = [json.dumps(dict(queue)), *([] if delay is None else [str(delay)])]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "core_tests.contract.elsewhere", *arguments),
        cwd=project(),
        env={**os.environ, "PYTHONPATH": python_path(), VARIABLE: variant_in_force() or ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.timeout(START_TIMEOUT):
            said = (await process.stdout.readline()).decode().split()
        if not said:
            raise RuntimeError((await process.stderr.read()).decode())
        yield said
    finally:
        process.kill()
        await process.communicate()


async def hold(queue: Mapping[str, Any], delay: float | None) -> None:
    """Take a message, and go on until killed."""
    config = find_provider(queue["type"]).config.model_validate(queue)
    inbox = Inbox(config, START_TIMEOUT)
    await inbox.consumer.open()
    (delivery,) = await inbox.has(1)
    if delay is not None:
        await inbox.processor.move(delivery, delivery.message, Place.RETRY, delay)
    print(delivery.message.message_id, flush=True)
    await asyncio.Event().wait()


def main() -> None:
    """Hold, with a variant of `broken.py` in force if the environment says so."""
    name = os.environ.get(VARIABLE)
    with breakable(), applied(name) if name else nullcontext():
        asyncio.run(hold(json.loads(sys.argv[1]), float(sys.argv[2]) if sys.argv[2:] else None))


if __name__ == "__main__":
    main()
