"""`handler_of()`, with which the project's handlers are tested."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.queue import handlers
from app.queue.messages.outcome import InvalidMessageError
from app.queue.testing import handler_of

MODULE = """
from typing import Any, Self

from pydantic import BaseModel

from app.queue.publishing import publish

LOG: list[str] = []


class Order(BaseModel):
    number: int


class OrdersHandler:
    async def __aenter__(self) -> Self:
        LOG.append("entered")
        return self

    async def __aexit__(self, *_: object) -> None:
        LOG.append("left")

    async def paid(self, message: Order) -> None:
        LOG.append(f"paid {message.number}")
        await publish("invoices", {"type": "wanted", "number": message.number})

    def broken(self, message: dict[str, Any]) -> None:
        raise RuntimeError("out of paper")
"""


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the handler of a project noted down."""
    monkeypatch.setattr(handlers, "__path__", [str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "orders.py").write_text(MODULE)
    (tmp_path / "queues.yaml").write_text(
        "queues: [{name: orders, type: memory}, {name: invoices, type: memory, enable_consumer: false}]"
    )
    monkeypatch.setenv("QUEUES_FILE", str(tmp_path / "queues.yaml"))
    monkeypatch.delitem(sys.modules, "app.queue.handlers.orders", raising=False)  # a project may have such a queue
    importlib.invalidate_caches()
    yield importlib.import_module("app.queue.handlers.orders").LOG
    del sys.modules["app.queue.handlers.orders"]


async def test_it_opens_calls_and_closes_the_handler_and_shows_what_it_published(log: list[str]) -> None:
    async with handler_of("orders") as handler:
        await handler.process_message({"type": "paid", "number": 7})
        assert handler.published("invoices") == [{"type": "wanted", "number": 7}]
    assert log == ["entered", "paid 7", "left"]


@pytest.mark.usefixtures("log")
async def test_what_the_handler_raises_is_raised_and_so_is_a_wrong_payload() -> None:
    async with handler_of("orders") as handler:
        with pytest.raises(RuntimeError, match="out of paper"):
            await handler.process_message({"type": "broken"})
        with pytest.raises(InvalidMessageError, match="number"):
            await handler.process_message({"type": "paid", "number": "seven"})
