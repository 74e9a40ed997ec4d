"""The real server on a real port: `ASGITransport` runs no lifespan, and so no queue."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import httpx2
import uvicorn
import yaml
from fastapi import FastAPI

from app.queue.processor import MessageProcessor
from app.queue.setup import queue_lifespan
from core_tests.tools.waiting import eventually

API_KEY = "a-key"


@asynccontextmanager
async def serving(
    folder: Path, queues: list[dict[str, Any]], handlers: dict[str, Any], *, wait_for: int = 200, **keys: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve these queues with these handlers; yields a client that has the API key. Waits for `/health/ready`."""
    file = folder / "queues.yaml"
    file.write_text(yaml.safe_dump({"queues": queues, "drain": {"delay": 0, "timeout": 5}, **keys}))

    def register(dispatcher: MessageProcessor) -> None:
        for name, handler in handlers.items():
            dispatcher.register_handler(name, handler)

    app = FastAPI(lifespan=queue_lifespan(register=register))
    with mock.patch.dict(os.environ, {"QUEUES_FILE": str(file), "API_KEY": os.environ.get("API_KEY", API_KEY)}):
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="on"))
        serving_task = asyncio.create_task(server.serve([listener]))
        base = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx2.AsyncClient(base_url=base, headers={"X-API-Key": API_KEY}, timeout=30) as client:
                await eventually(lambda: server.started, "the server has started")

                async def as_expected() -> bool:
                    return (await client.get("/health/ready")).status_code == wait_for

                await eventually(as_expected, f"/health/ready answers {wait_for}")
                yield client
        finally:
            server.should_exit = True
            await serving_task
