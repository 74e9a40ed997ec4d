"""Some combinations through every kind of change; `make matrix` has all, and prints them as a table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.matrix import EQUAL, KEPT, matrix, table
from tests.test_combinations import COMBINATIONS

SAMPLE = [
    next(found for found in COMBINATIONS if found["queues"] == queues)
    for queues in (
        "user_channel: send_audio",
        "a; b: x; c!dlq: y, z; d!nodlq",
        "orders@memory: order.created, order-paid; users@rabbitmq!nodlq: sign_up",
    )
]


@pytest.mark.timeout(900)
def test_every_change_leaves_a_fresh_bake_or_every_line_of_the_user(template: Path, tmp_path: Path) -> None:
    cells = matrix(template, tmp_path, SAMPLE)
    print(table(cells))
    assert len(cells) == len(SAMPLE) * 3 * 17
    assert {cell.result for cell in cells} == {EQUAL, KEPT}, [cell for cell in cells if cell.flaw]
