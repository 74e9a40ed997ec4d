"""A stub that is added to a handler module has the imports it needs, where the user had deleted them."""

from __future__ import annotations

import ast

import pytest

from queue_template.imports import with_missing_imports
from queue_template.names import unbound

HEAD = '"""Handlers."""\n\n'
STANDARD = "import logging\nfrom typing import Literal\n\n"
PYDANTIC = "from pydantic import BaseModel, ConfigDict\n\n"
OWN = "from app.queue.handling import (\n    current_delivery,\n    message_type,\n)\n\n"
LOGGER = "logger = logging.getLogger(__name__)\n\n\n"
CODE = """class Model(BaseModel):
    model_config = ConfigDict(extra="allow")
    type: Literal["a"] = "a"


class Handler:
    @message_type("a")
    async def a(self, message: Model) -> None:
        logger.info("%s", current_delivery())
"""
RENDER = HEAD + STANDARD + PYDANTIC + OWN + LOGGER + CODE


def test_what_has_all_it_needs_is_left_as_it_is() -> None:
    assert with_missing_imports(RENDER, RENDER) == RENDER
    with_own = RENDER.replace("import logging\n", "import logging\nimport os\n").replace('"%s"', "os.name")
    assert with_missing_imports(with_own, RENDER) == with_own


@pytest.mark.parametrize(
    "deleted",
    [
        "import logging\n",
        "from typing import Literal\n",
        "    message_type,\n",
        ", ConfigDict",
        "BaseModel, ",
        PYDANTIC,
    ],
)
def test_a_deleted_import_comes_back_in_its_place(deleted: str) -> None:
    assert with_missing_imports(RENDER.replace(deleted, "", 1), RENDER) == RENDER


def test_the_logger_comes_back_behind_the_imports() -> None:
    text = RENDER.replace(LOGGER, "\n").replace("import logging\n", "")
    assert with_missing_imports(text, RENDER) == RENDER


def test_all_imports_come_back_at_once() -> None:
    text = HEAD + "\n" + CODE
    assert with_missing_imports(text, RENDER) == RENDER.replace(
        OWN, "from app.queue.handling import current_delivery, message_type\n\n"
    )


def test_an_import_of_the_user_stays_among_them() -> None:
    text = RENDER.replace("    message_type,\n", "").replace("    current_delivery,\n", "    Reject,\n")
    assert "(\n    Reject,\n    current_delivery,\n    message_type,\n)" in with_missing_imports(text, RENDER)


def test_a_module_that_can_not_be_read_is_left_as_it_is() -> None:
    assert with_missing_imports("def (", RENDER) == "def ("


@pytest.mark.parametrize(
    ("own", "completed"),
    [
        ("from app.queue.handling import Reject  # ours\n", "import Reject, current_delivery, message_type  # ours\n"),
        (
            "from app.queue.handling import (\n    Reject,  # ours\n    spare,  # theirs\n)\n",
            "(\n    Reject,  # ours\n    current_delivery,\n    message_type,\n    spare,  # theirs\n)\n",
        ),
        (
            "from app.queue.handling import (\n    Reject,  # ours\n)\n",
            "(\n    Reject,  # ours\n    current_delivery,\n    message_type,\n)\n",
        ),
        (
            "from app.queue.handling import (\n    Reject  # ours\n)\n",
            "(\n    Reject, current_delivery, message_type  # ours\n)\n",
        ),
        (
            "from app.queue.handling import spare, \\\n    Réject\n",
            "current_delivery, message_type, spare, \\\n    Réject\n",
        ),
        (
            "from app.queue.handling import (Réject, spare as message)\n",
            "(Réject, current_delivery, message_type, spare as",
        ),
    ],
)
def test_an_import_of_the_users_is_completed_and_not_rewritten(own: str, completed: str) -> None:
    text = with_missing_imports(RENDER.replace(OWN, f"{own}\n"), RENDER)
    assert completed in text
    assert unbound(ast.parse(text)) == set()


@pytest.mark.parametrize("odd", ['PAGE = "\f"\n', 'TEXT = "\x85\u2028"\n', 'TEXT = """a\rb"""\n'])
def test_whatever_is_in_a_line_no_other_one_is_lost(odd: str) -> None:
    text = HEAD + odd + STANDARD + "import app.telemetry\n" + OWN.replace("    message_type,\n", "") + LOGGER + CODE
    completed = with_missing_imports(text, RENDER)
    assert unbound(ast.parse(completed)) == set()
    left = completed.replace("    message_type,\n", "").replace("from pydantic import BaseModel, ConfigDict\n", "")
    assert left.replace("\n\n\n", "\n\n") == text.replace("\n\n\n", "\n\n")


def test_what_a_class_needs_is_not_imported_behind_it() -> None:
    text = RENDER.replace(OWN, "").replace(LOGGER, "\n") + "\n\nfrom app.queue.handling import Reject  # late\n"
    completed = with_missing_imports(text, RENDER)
    assert completed.index("import current_delivery, message_type\n") < completed.index("class Handler")
    assert "import Reject  # late\n" in completed
    assert completed.index("logger = ") < completed.index("class Model")
