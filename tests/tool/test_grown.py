"""A handler that grew into a package, was renamed or registered otherwise: the stub lands in it, or is put in words."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import Project
from tests.releases import change, publish
from tests.repository import commit, run
from tests.tool.script import HANDLER, STUB, answers, fill_in, script, status
from tests.touched import fill_in as without_imports

PACKAGE = "app/queue/handlers/orders"
TEST = "tests/handlers/test_orders.py"
START = """import sys
from app.queue.handlers.register_handlers import register_handlers
from app.queue.processor import MessageProcessor
processor = MessageProcessor()
register_handlers(processor)
print(*processor.types("orders"))
"""


def types(project: Project) -> list[str]:
    """The message types that the service starts with; and the tests of its handlers pass."""
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers")
    return project.run("python", "-c", START).split()


def package(project: Project) -> Path:
    """The handler's module as the package's own."""
    folder = project.path / PACKAGE
    folder.mkdir()
    run(project.path, "git", "mv", HANDLER, f"{PACKAGE}/__init__.py")
    return folder


def in_parts(project: Project) -> None:
    """Models and class in modules of their own, in nothing like the stub's layout."""
    folder = package(project)
    text = (folder / "__init__.py").read_text(encoding="utf-8")
    model = re.search(r"class OrderCreatedMessage.*?(?=\n\n\nclass)", text, re.DOTALL)
    assert model
    head = "from typing import Literal\n\nfrom pydantic import BaseModel, ConfigDict\n\n\n"
    (folder / "models.py").write_text(f"{head}{model[0]}\n", encoding="utf-8")
    (folder / "handler.py").write_text(
        "from app.queue.handling import message_type\n\nfrom .models import OrderCreatedMessage\n\n\n"
        '# The one that counts.\nclass PurchaseHandler:\n\t"""Mine."""\n\n\tlimit = 3\n\n'
        '\t@message_type("order.created")\n'
        "\tasync def created(self, message: OrderCreatedMessage) -> None:\n\t\tself.seen = message\n",
        encoding="utf-8",
    )
    (folder / "__init__.py").write_text("from .handler import PurchaseHandler as PurchaseHandler\n", encoding="utf-8")


def test_a_type_is_added_to_a_package_with_the_imports_it_needs(project: Project) -> None:
    folder = package(project)
    without_imports(folder / "__init__.py")
    change(project.path / TEST, '"order.created"}', '"order.created", "user_id": 1}')
    run(project.path, "git", "mv", TEST, "tests/handlers/test_purchases.py")
    commit(project.path, "A package")
    script(project, "add-type", "--yes", "orders", "order.paid")
    assert types(project) == ["order.created", "order.paid"]
    source = project.read(f"{PACKAGE}/__init__.py")
    assert "self.seen = [message]  # mine" in source
    project.run("ruff", "check", "--no-cache", ".")
    project.run("ruff", "format", "--no-cache", "--check", "app/queue/handlers")
    assert "test_order_paid_is_handled" in project.read("tests/handlers/test_purchases.py")
    assert not (project.path / HANDLER).exists()


def test_a_type_is_added_where_the_class_is_whatever_its_name_and_its_style(project: Project) -> None:
    in_parts(project)
    run(project.path, "git", "rm", "--quiet", TEST)
    (project.path / "tests/handlers/orders").mkdir()
    (project.path / "tests/handlers/orders/test_all.py").write_text(
        "from app.queue.testing import handler_of\n\n\nasync def test_mine() -> None:\n"
        "    async with handler_of('orders') as handler:\n        assert handler\n",
        encoding="utf-8",
    )
    commit(project.path, "A package in parts")
    before = {name: project.read(f"{PACKAGE}/{name}") for name in ("__init__.py", "models.py", "handler.py")}
    said = script(project, "add-type", "--yes", "orders", "order.paid")
    assert "stays deleted" not in said
    assert types(project) == ["order.created", "order.paid"]
    after = {name: project.read(f"{PACKAGE}/{name}") for name in before}
    assert {name for name in before if before[name] != after[name]} == {"handler.py"}
    there = after["handler.py"].replace("import current_delivery, message_type\n", "import message_type\n").splitlines()
    assert not [line for line in before["handler.py"].splitlines() if line not in there]
    assert '\t\t"""Handle `order.paid`."""\n' in after["handler.py"]
    assert "test_order_paid_is_handled" in project.read("tests/handlers/orders/test_all.py")


def test_a_class_that_names_its_queue_is_found_in_whatever_module(project: Project) -> None:
    run(project.path, "git", "mv", HANDLER, "app/queue/handlers/shop.py")
    change(
        project.path / "app/queue/handlers/shop.py",
        '    """One public method a message type.',
        '    queue = "orders"\n    """One public method a message type.',
    )
    with (project.path / "app/queue/handlers/shop.py").open("a", encoding="utf-8") as file:
        file.write("\n\nclass _Helper:\n    def help(self) -> int:\n        return 1\n")
    commit(project.path, "A shop")
    script(project, "add-type", "--yes", "orders", "order.paid")
    assert types(project) == ["order.created", "order.paid"]
    source = project.read("app/queue/handlers/shop.py")
    assert source.index("async def order_paid") < source.index("class _Helper")


def test_what_has_no_place_is_put_in_words_and_not_called_done(project: Project) -> None:
    run(project.path, "git", "mv", HANDLER, "app/queue/handlers/_orders.py")
    (project.path / HANDLER).write_text("def handle() -> None:\n    pass\n", encoding="utf-8")
    run(project.path, "git", "rm", "--quiet", TEST)
    commit(project.path, "Something else")
    said = script(project, "add-type", "--yes", "orders", "order.paid", code=3)
    assert "The handler of orders: no class handles it. Put this where it belongs, in app/queue/handlers/:" in said
    assert '    @message_type("order.paid")\n    async def order_paid(self, message: OrderPaidMessage)' in said
    assert "class OrderPaidMessage(BaseModel):" in said
    assert "from pydantic import BaseModel, ConfigDict" in said
    assert "Done and staged" not in said
    script(project, "undo")
    assert status(project) == []
    assert "order.paid" not in answers(project)["queues"]


def test_a_stub_whose_prose_is_new_conflicts_with_nothing_in_a_handler(project: Project, repository: Path) -> None:
    change(project.path / HANDLER, "    Return: the message is done.", "    Return: the message is gone.")
    fill_in(project)
    commit(project.path, "Work")
    before = project.read(HANDLER)
    publish(repository, STUB)
    script(project, "update", "--yes")
    assert project.read(HANDLER) == before


def add_to_package(project: Project, code: str, *others: str) -> str:
    """`add-queue more: one`, where `more` is a package of the user's already."""
    folder = project.path / "app/queue/handlers/more"
    folder.mkdir()
    (folder / "__init__.py").write_text(code, encoding="utf-8")
    for name in others:
        (folder / name).write_text('"""Mine."""\n', encoding="utf-8")
    commit(project.path, "A package")
    return script(project, "add-queue", "--yes", "more: one")


def types_of_more(project: Project) -> list[str]:
    project.run("pytest", "-q", "-p", "no:cacheprovider", "tests/handlers")
    return project.run("python", "-c", START.replace("orders", "more")).split()


def test_a_queue_whose_package_is_there_gets_its_stub_in_it(project: Project) -> None:
    said = add_to_package(project, '"""Mine."""\n\nLIMIT = 3\n', "prices.py", "handler.py")
    assert "new       app/queue/handlers/more/more_handler.py" in said
    assert not (project.path / "app/queue/handlers/more.py").exists()
    assert types_of_more(project) == ["one"]
    imported = "from app.queue.handlers.more.more_handler import MoreHandler as MoreHandler\n"
    assert project.read("app/queue/handlers/more/__init__.py") == f'"""Mine."""\n\n{imported}\nLIMIT = 3\n'
    commit(project.path, "Added")
    script(project, "add-type", "--yes", "more", "two")
    assert types_of_more(project) == ["one", "two"]
    project.run("ruff", "check", "--no-cache", ".")


def test_a_queue_that_a_class_in_a_package_handles_already_gets_no_second_one(project: Project) -> None:
    code = "class MoreHandler:\n    async def one(self, message: dict[str, object]) -> None:\n        pass\n"
    said = add_to_package(project, code)
    assert "note      app/queue/handlers/more/__init__.py: stays as you have it" in said
    assert "more.py" not in said.replace("tests/handlers/test_more.py", "")
    assert types_of_more(project) == ["one"]
    assert project.read("app/queue/handlers/more/__init__.py") == code


def test_a_package_that_git_does_not_have_yet_is_in_the_way(project: Project) -> None:
    folder = project.path / "app/queue/handlers/more"
    folder.mkdir()
    (folder / "__init__.py").write_text("", encoding="utf-8")
    said = script(project, "add-queue", "--yes", "more: one", code=1)
    assert "app/queue/handlers/more.py: a package of yours has its name, app/queue/handlers/more/" in said
    assert status(project) == ["?? app/queue/handlers/more/"]
