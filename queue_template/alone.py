"""One command at a time in a repository."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from queue_template.git import TemplateError
from queue_template.project import Project, find_project
from queue_template.upgrade import HANDED_ON

FILE = "template-lock"


@contextmanager
def alone() -> Iterator[Project]:
    """The project here, in whose repository no other command of this tool changes anything meanwhile.

    Raises TemplateError if there is none, or if another command runs.
    """
    project = find_project()
    with ExitStack() as until_the_end:
        if HANDED_ON not in os.environ:  # the tool that hands an update on has the lock, and waits
            lock(project.git_folder() / FILE, until_the_end)
        yield project


def lock(file: Path, until: ExitStack) -> None:
    """Lock this file, by SQLite: every system takes that back from a process that is killed, and the file stays empty.

    Raises TemplateError if another process has it.
    """
    try:
        connection = until.enter_context(closing(sqlite3.connect(file, timeout=0, isolation_level=None)))
        connection.execute("PRAGMA journal_mode = OFF")  # no second file
        connection.execute("BEGIN EXCLUSIVE")
    except sqlite3.Error as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise TemplateError(
                "Another queue-template is at work in this repository, or waits for a yes. Nothing was changed; try "
                "again when it has ended."
            ) from None
        # There are no locks on this file system, as on some of a network's: that is no reason to do nothing there.
