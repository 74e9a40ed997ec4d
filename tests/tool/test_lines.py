"""A form feed in a user's file ends no line, and what ends one for Python does."""

from __future__ import annotations

from queue_template.entries import entry, with_entry_of
from queue_template.handlers import homes, with_stub

YAML = "queues:\n  - name: orders\n    # mine \f and more\n    type: memory\n  - name: other\n    type: memory\n"
NAME = "app/queue/handlers/orders.py"
STUB = "class OrdersHandler:\n    async def paid(self) -> None: ...\n"
MORE = f"{STUB}\n    async def sent(self) -> None: ...\n"


def test_a_form_feed_in_an_entry_does_not_end_it() -> None:
    assert entry(YAML, "orders") == YAML.partition("queues:\n")[2].partition("  - name: other")[0]
    assert with_entry_of(YAML.replace("type: memory", "type: nats", 1), YAML, "orders").count("type:") == 2


def test_a_stub_lands_behind_the_last_method_whatever_ends_the_lines_before_it() -> None:
    before = f'PAGE = "\f\x85\u2028"\nTEXT = """a\rb"""\n\n\n{STUB}'
    behind = "\n\ndef mine() -> None: ...\n"
    (home,) = homes({NAME: before + behind})["orders"]
    assert with_stub(before + behind, home, STUB, MORE) == before + MORE.removeprefix(STUB) + behind
