"""Finding the handlers: modules of the folder `app/queue/handlers/`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.queue import handlers
from app.queue.errors import ConfigError
from app.queue.handlers.register_handlers import register_handlers
from app.queue.processor import MessageProcessor

Write = Callable[[str, str], None]
HANDLER = "class {name}:\n    {extra}\n    async def work(self, message: dict) -> None: ...\n"


def handler(name: str, extra: str = "pass") -> str:
    return HANDLER.format(name=name, extra=extra)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a module into a folder that stands in for the one of the handlers."""
    monkeypatch.setattr(handlers, "__path__", [str(tmp_path)])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_module(name: str, text: str) -> None:
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, f"app.queue.handlers.{name}", raising=False)
        importlib.invalidate_caches()

    return write_module


def registered() -> MessageProcessor:
    processor = MessageProcessor()
    loaded = set(sys.modules)
    try:
        register_handlers(processor)
    finally:
        for name in set(sys.modules) - loaded:
            del sys.modules[name]
    return processor


def test_a_folder_without_modules_registers_nothing(write: Write) -> None:
    write("register_handlers", "raise AssertionError('not a queue')")
    assert registered().types("register_handlers") == ()


def test_a_module_handles_the_queue_of_its_name(write: Write) -> None:
    write("user_channel", handler("UserHandler"))
    write("orders", handler("OrdersHandler"))
    processor = registered()
    assert processor.types("user_channel") == ("work",)
    assert type(processor.handler("orders")).__name__ == "OrdersHandler"


def test_an_attribute_names_a_queue_that_can_not_be_a_modules_name(write: Write) -> None:
    write("orders_eu", handler("OrdersHandler", "queue = 'orders.eu-1'"))
    processor = registered()
    assert processor.types("orders.eu-1") == ("work",)
    assert processor.handler("orders_eu") is None


def test_a_package_handles_the_queue_of_its_name_with_a_class_from_a_module_in_it(write: Write, tmp_path: Path) -> None:
    (tmp_path / "orders").mkdir()
    write("orders/handler", handler("PurchaseHandler"))
    write("orders/other", handler("OtherHandler"))
    write("orders/__init__", "from .handler import PurchaseHandler\n")
    assert type(registered().handler("orders")).__name__ == "PurchaseHandler"


def test_models_imported_handlers_and_private_names_are_not_in_the_way(write: Write) -> None:
    write("_shared", handler("SharedHandler"))
    write(
        "orders",
        "from app.queue.handlers._shared import SharedHandler\n"
        "from logging import StreamHandler\n"
        "class OrderMessage: ...\n" + handler("_BaseHandler") + "class OrdersHandler(_BaseHandler): ...\n",
    )
    processor = registered()
    assert processor.types("orders") == ("work",)
    assert processor.handler("_shared") is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "none"),
        ("class Orders: ...", "none"),
        (handler("_OrdersHandler"), "none"),
        ("from logging import StreamHandler", "none"),
        (handler("AHandler") + handler("BHandler"), "AHandler, BHandler"),
    ],
)
def test_a_module_without_exactly_one_handler_is_an_error_that_names_the_file(
    write: Write, tmp_path: Path, text: str, found: str
) -> None:
    write("orders", text)
    with pytest.raises(ConfigError) as caught:
        registered()
    assert str(caught.value).startswith(str(tmp_path / "orders.py"))
    assert f"but has {found};" in str(caught.value)


def test_two_modules_for_one_queue_are_an_error(write: Write) -> None:
    write("orders", handler("OrdersHandler"))
    write("other", handler("OtherHandler", "queue = 'orders'"))
    with pytest.raises(ConfigError, match=r"queue 'orders' has two handlers: .*OrdersHandler and .*OtherHandler"):
        registered()


def test_a_method_with_a_wrong_signature_is_an_error_that_names_module_class_and_method(write: Write) -> None:
    write("orders", "class OrdersHandler:\n    def helper(self): ...\n")
    with pytest.raises(ConfigError, match=r"^app\.queue\.handlers\.orders\.OrdersHandler\.helper: "):
        registered()
