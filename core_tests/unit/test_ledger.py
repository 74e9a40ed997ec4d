"""The ledger of the fault suite, of which all its verdicts are made."""

from __future__ import annotations

from pathlib import Path

from core_tests.tools.ledger import Ledger


def test_a_line_is_read_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.note("done", "first")
    with ledger.path.open("ab") as file:
        file.write(b"done sec")
    assert ledger.ids() == {"first"}
    with ledger.path.open("ab") as file:
        file.write(b"ond 1 1 2.5\n")
    assert ledger.ids() == {"first", "second"}
    assert ledger.count() == 2
    ledger.close()
