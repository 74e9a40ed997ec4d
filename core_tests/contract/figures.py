"""The table of what faults cost, a provider a column. Reports carry its cells, which may come from other processes."""

from __future__ import annotations

from typing import cast

import pytest

FIGURE = "figure"
"""The user property of a report that is a cell: (what, provider, value)."""


class FigureTable:
    """Collects the cells of all tests, and prints them at the end."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's cells from its report."""
        if report.when == "call":
            for name, value in report.user_properties:
                if name == FIGURE:
                    what, provider, text = cast("tuple[str, str, str]", value)
                    self.rows.setdefault(what, {})[provider] = text

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if not self.rows:
            return
        columns = sorted({provider for row in self.rows.values() for provider in row})
        terminalreporter.section("what the faults cost")
        terminalreporter.write_line("| " + " | ".join(["", *columns]) + " |")
        terminalreporter.write_line("| --- " * (len(columns) + 1) + "|")
        for what, row in self.rows.items():
            terminalreporter.write_line("| " + " | ".join([what, *(row.get(name, "-") for name in columns)]) + " |")
