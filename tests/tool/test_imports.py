"""A stub that is added to a handler module has the imports it needs, where the user had deleted them."""

from __future__ import annotations

import pytest

from queue_template.imports import with_missing_imports, with_new_place_of_testing

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


OLD_WAY = """import json

import pytest

from app.queue.errors import InvalidMessageError
from app.shop import orders
from tests.tools.handlers import HandlerUnderTest, handler_of


def test() -> None:
    from tests.tools.handlers import handler_of
"""
NEW_WAY = """import json

import pytest

from app.queue.errors import InvalidMessageError
from app.queue.testing import HandlerUnderTest, handler_of
from app.shop import orders


def test() -> None:
    from app.queue.testing import handler_of
"""


def test_a_test_imports_from_where_the_module_is_now_and_in_order() -> None:
    assert with_new_place_of_testing(OLD_WAY) == NEW_WAY
    assert with_new_place_of_testing(NEW_WAY) == NEW_WAY


def test_what_can_not_be_parsed_is_renamed_all_the_same() -> None:
    marked = f"<<<<<<< mine\n{OLD_WAY}=======\n>>>>>>> theirs\n"
    assert with_new_place_of_testing(marked) == marked.replace("tests.tools.handlers", "app.queue.testing")
