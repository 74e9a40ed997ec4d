"""The ledger that handlers append to, and the checker that compares it with what the broker has confirmed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: what was noted (`begin`, `done`, ...) about which message, by which process, and when."""

    mark: str
    message_id: str
    pid: int
    attempt: int
    at: float
    """`time.monotonic()`, which all processes of a machine share."""


class Ledger:
    """An append-only file. A line is one `write()` in append mode: none is cut by a `kill -9` or by another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_RDWR, 0o600)
        self._entries: list[Entry] = []
        self._read_to = 0

    def note(self, mark: str, message_id: str, attempt: int = 1) -> None:
        """Append a line. Neither `mark` nor `message_id` may hold a blank."""
        os.write(self._file, f"{mark} {message_id} {os.getpid()} {attempt} {time.monotonic():.6f}\n".encode())

    def entries(self, mark: str | None = None, among: Collection[str] | None = None) -> Iterator[Entry]:
        """What was noted, in order; with `mark` and `among`, only that, and only of these messages."""
        self._read()
        for entry in self._entries:
            if mark in (None, entry.mark) and (among is None or entry.message_id in among):
                yield entry

    def ids(self, mark: str = "done") -> set[str]:
        """The messages that have this mark."""
        return {entry.message_id for entry in self.entries(mark)}

    def count(self, mark: str = "done", among: Collection[str] | None = None) -> int:
        """How many entries have this mark; with `among`, only of these messages."""
        return sum(1 for _ in self.entries(mark, among))

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _read(self) -> None:
        size = os.fstat(self._file).st_size
        data = os.pread(self._file, size - self._read_to, self._read_to)
        whole = data[: data.rfind(b"\n") + 1]  # a reader may see a line that is still being written
        self._read_to += len(whole)
        for line in whole.decode().splitlines():
            mark, message_id, pid, attempt, at = line.split(" ")
            self._entries.append(Entry(mark, message_id, int(pid), int(attempt), float(at)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of the messages.

    Attributes:
        lost: confirmed by the broker, never handled, and in no other place.
        duplicated: handled more than once.
        unexpected: handled, but never sent.
        recovered: handled although the broker never confirmed them. That is allowed.
    """

    lost: frozenset[str]
    duplicated: frozenset[str]
    unexpected: frozenset[str]
    recovered: frozenset[str]

    def __str__(self) -> str:
        text = f"lost {len(self.lost)}, handled twice {len(self.duplicated)}"
        return f"{text}, unexpected {len(self.unexpected)}" if self.unexpected else text


def check(
    ledger: Ledger,
    confirmed: Collection[str],
    attempted: Collection[str] = (),
    elsewhere: Collection[str] = (),
) -> Verdict:
    """Compare the ledger with what was sent.

    Args:
        ledger: what the handlers noted; `done` is a message that was handled.
        confirmed: ids that the broker has confirmed.
        attempted: all ids that were sent, confirmed or not.
        elsewhere: ids that are somewhere safe, such as a DLQ, and so not lost.
    """
    handled = Counter(entry.message_id for entry in ledger.entries("done"))
    sent = {*confirmed, *attempted}
    return Verdict(
        lost=frozenset({*confirmed} - handled.keys() - {*elsewhere}),
        duplicated=frozenset(name for name, times in handled.items() if times > 1),
        unexpected=frozenset(handled.keys() - sent),
        recovered=frozenset((handled.keys() & sent) - {*confirmed}),
    )
