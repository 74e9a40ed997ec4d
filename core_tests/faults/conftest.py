"""Faults on purpose, on a real broker of our own: `make test-faults`. The other targets leave them out.

Each test writes rows, by the fixture `row`, of a table that is printed at the end. A row that does not hold fails its
test, after all its rows are written.
"""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Callable, Generator, Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import cast

import pytest

from core_tests.faults.world import World, Worlds
from core_tests.tools.rabbitmq_node import RabbitMQNode

HERE = Path(__file__).parent
TIMEOUT = 600
LOG_LINES = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    fault: str
    promise: str
    figure: str
    held: bool


Rows = list[Row]
WriteRow = Callable[[str, str, object, bool], None]
_OF_TEST = pytest.StashKey[Rows]()
ROW = "row"
"""The user property of a report that holds a row: reports come from other processes, too."""


def pytest_configure(config: pytest.Config) -> None:
    """Print the table at the end."""
    config.pluginmanager.register(Table(), "faults-table")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder. `slow` as well, for those who know of no faults."""
    for item in items:
        if item.path.is_relative_to(HERE):
            for mark in (pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(TIMEOUT)):
                item.add_marker(mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect the test's rows, and fail it for those that don't hold."""
    report = yield
    if call.when == "teardown" or report.skipped or (call.when == "setup" and report.passed):
        return report
    rows = item.stash.get(_OF_TEST, [])
    broken = [row for row in rows if not row.held]
    if report.passed and broken:
        report.outcome = "failed"
        report.longrepr = "\n".join(f"not held: {row.fault}: {row.promise}: {row.figure}" for row in broken)
    elif report.failed:
        said = str(call.excinfo.value) if call.excinfo else ""
        rows.append(Row(item.name, "the test runs to its end", said.partition("\n")[0] or "it failed", held=False))
    report.user_properties = [*report.user_properties, *((ROW, astuple(row)) for row in rows)]
    worlds = getattr(item, "funcargs", {}).get("new_world")
    if report.failed and isinstance(worlds, Worlds):
        for service in [service for world in worlds.made for service in world.services]:
            tail = "\n".join(service.log.splitlines()[-LOG_LINES:])
            report.sections.append((f"end of the log of the service on port {service.port}", tail))
    return report


class Table:
    """Collects the rows of all tests, and prints them."""

    def __init__(self) -> None:
        self.rows: Rows = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take a test's rows from its report."""
        self.rows += [
            Row(*cast("tuple[str, str, str, bool]", value)) for name, value in report.user_properties if name == ROW
        ]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self.rows:
            terminalreporter.section(f"what the service promises, under faults, at RabbitMQ {RabbitMQNode.version()}")
            width = max(100, min(180, shutil.get_terminal_size((140, 24)).columns))
            terminalreporter.write_line(table(self.rows, width))


def table(rows: Rows, width: int) -> str:
    """The rows as text, as wide as `width`."""
    widths = [int((width - 13) * share) for share in (0.28, 0.38, 0.34)]
    lines: list[str] = []

    def add(*cells: str) -> None:
        wrapped = [textwrap.wrap(cell, size) or [""] for cell, size in zip(cells[:3], widths, strict=True)]
        for number in range(max(map(len, wrapped))):
            parts = [cell[number] if number < len(cell) else "" for cell in wrapped]
            last = cells[3] if number == 0 else ""
            lines.append(" | ".join(f"{part:{size}}" for part, size in zip(parts, widths, strict=True)) + f" | {last}")

    add("fault", "promise", "figure", "held")
    lines.append("-|-".join("-" * size for size in widths) + "-|-----")
    last_fault = ""
    faults = list(dict.fromkeys(row.fault for row in rows))
    for row in sorted(rows, key=lambda row: faults.index(row.fault)):
        add("" if row.fault == last_fault else row.fault, row.promise, row.figure, "yes" if row.held else "NO")
        last_fault = row.fault
    held = sum(row.held for row in rows)
    return "\n".join([*lines, "", f"{held} of {len(rows)} held"])


@pytest.fixture
def row(request: pytest.FixtureRequest) -> WriteRow:
    """`row(fault, promise, figure, held)` adds a row to the table, and fails the test at its end if it is not held."""
    rows = request.node.stash.setdefault(_OF_TEST, [])

    def write(fault: str, promise: str, figure: object, held: bool) -> None:
        rows.append(Row(fault, promise, str(figure), held))

    return write


@pytest.fixture(scope="session")
def installed() -> None:
    """Fails or skips what needs a RabbitMQ of its own, if none can be started."""
    if RabbitMQNode.find_server() is None:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail("rabbitmq-server is not installed, and the fault suite kills a RabbitMQ of its own")
        pytest.skip("rabbitmq-server is not installed, and the fault suite kills a RabbitMQ of its own")


@pytest.fixture(scope="session")
def node(installed: None) -> Iterator[RabbitMQNode]:
    """A private RabbitMQ, which tests may kill."""
    node = RabbitMQNode()
    try:
        node.start()
        yield node
    finally:
        node.remove()


@pytest.fixture
def new_world(node: RabbitMQNode, tmp_path: Path) -> Iterator[Worlds]:
    """Makes worlds, for a test that runs several faults side by side."""
    node.keep_running()
    with Worlds(node, tmp_path) as worlds:
        yield worlds


@pytest.fixture
def world(new_world: Worlds) -> World:
    """The test's own queue, proxy, ledger and services, at a node that runs."""
    return new_world()
