"""The post-gen hook, rendered as cookiecutter renders it, and its functions called."""

from __future__ import annotations

import ast
import re
import types
from pathlib import Path
from typing import Any

import pytest
from cookiecutter.environment import StrictEnvironment

from queue_template_extension import LIBRARIES, plan
from tests.conftest import ROOT


@pytest.fixture
def hook() -> Any:
    """The hook as a module, for two queues."""
    return rendered(queues="user_channel: send_audio; orders@memory: order.created, order-paid; untyped")


def rendered(**answers: str) -> Any:
    context = {
        "project_name": "A name",
        "project_slug": "a-slug",
        "provider": "rabbitmq",
        "dead_letter_queues": "yes",
        "_polled_kit": "no",
        "_extensions": ["queue_template_extension.QueueTemplateExtension"],
        **answers,
    }
    context["__plan"] = plan(context)
    environment = StrictEnvironment(context={"cookiecutter": context}, keep_trailing_newline=True)
    source = (ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    module = types.ModuleType("hook")
    exec(environment.from_string(source).render(cookiecutter=context), module.__dict__)
    return module


def test_the_plan_arrives_as_data(hook: Any) -> None:
    assert [queue["name"] for queue in hook.PLAN["queues"]] == ["user_channel", "orders", "untyped"]
    assert hook.PLAN["dropped"] == ["redis", "nats", "polled_kit"]
    assert hook.PROJECT == "a-slug"


def test_no_library_of_the_project_can_be_its_name() -> None:
    project = (ROOT / "{{cookiecutter.project_slug}}/pyproject.toml").read_text(encoding="utf-8")
    named = {name.replace("_", "-") for name in re.findall(r'"([a-z0-9-]+)>=', project)}
    assert named == LIBRARIES


def test_a_handler_module_has_a_model_and_a_method_for_every_type(hook: Any) -> None:
    module = ast.parse(hook.handler_module(hook.PLAN["queues"][1]))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
    assert list(classes) == ["OrderCreatedMessage", "OrderPaidMessage", "OrdersHandler"]
    methods = [node for node in classes["OrdersHandler"].body if isinstance(node, ast.AsyncFunctionDef)]
    assert [method.name for method in methods] == ["order_created", "order_paid"]
    assert [ast.unparse(method.decorator_list[0]) for method in methods] == [
        "message_type('order.created')",
        "message_type('order-paid')",
    ]
    assert [ast.unparse(method.args.args[1]) for method in methods] == [
        "message: OrderCreatedMessage",
        "message: OrderPaidMessage",
    ]


def test_a_queue_without_types_has_an_example(hook: Any) -> None:
    source = hook.handler_module(hook.PLAN["queues"][2])
    assert "async def example(self, message: ExampleMessage) -> None:" in source


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("Söhne, ÉTÉ", '"Söhne, ÉTÉ"'),
        ("注文", '"注文"'),
        ("It's", '"It\'s"'),
        ('The "A"', "'The \"A\"'"),
        ("""It's "A" """, "'It\\'s \"A\" '"),
        ("a\\b", '"a\\\\b"'),
        ("a\u202eb", '"a\\u202eb"'),
    ],
)
def test_a_title_is_plain_text(hook: Any, name: str, source: str) -> None:
    assert hook.python_text(name) == source
    assert ast.literal_eval(source) == name


def test_there_is_a_test_for_every_type(hook: Any) -> None:
    module = ast.parse(hook.handler_test(hook.PLAN["queues"][1]))
    tests = [node.name for node in module.body if isinstance(node, ast.AsyncFunctionDef)]
    assert tests == ["test_order_created_is_handled", "test_order_paid_is_handled"]


def test_everything_of_a_dropped_provider_goes_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (
        "app/queue/providers/rabbitmq/x.py",
        "app/queue/providers/memory/x.py",
        "docs/rabbitmq.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[\n"aio-pika",  # only with rabbitmq\n"trustme",  # only with rabbitmq, redis: for TLS\n"fastapi",\n]\n'
    )
    rendered(queues="a@redis: x").drop_what_is_unused()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"app/queue/providers/memory/x.py", "pyproject.toml"}
    kept = '[\n"trustme",  # only with rabbitmq, redis: for TLS\n"fastapi",\n]\n'
    assert (tmp_path / "pyproject.toml").read_text() == kept
    rendered(queues="a@memory: x").drop_what_is_unused()
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"app/queue/providers/memory/x.py", "pyproject.toml"}
    assert (tmp_path / "pyproject.toml").read_text() == '[\n"fastapi",\n]\n'


def test_it_ends_by_telling_the_next_two_commands(hook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    hook.say_what_is_next()
    assert capsys.readouterr().out.split() == ["Done.", "Next:", "cd", "a-slug", "make", "run"]
