"""Files of a commit, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from queue_template.git import TemplateError, git, git_bytes
from queue_template.index import SUBMODULE, Entry


def fetch(folder: Path, entries: Iterable[Entry]) -> None:
    """Have a partial clone fetch what it lacks of these files. Raises TemplateError if it can't."""
    wanted = "\n".join(entry.blob for entry in entries if entry.mode != SUBMODULE)
    try:
        git(folder, "cat-file", "--batch-check", given=wanted)
    except TemplateError as error:
        said = " ".join(str(error).split())
        raise TemplateError(f"This clone lacks files of its last commit, and can't fetch them: {said}") from None


def read(folder: Path, entries: Mapping[str, Entry]) -> dict[str, bytes]:
    """The content of these files, by name, and where a link leads; submodules are left out.

    They are asked for by their ids: a name may have a line feed in it.
    """
    files = {name: entry.blob for name, entry in entries.items() if entry.mode != SUBMODULE}
    rest = git_bytes(folder, "cat-file", "--batch", given="".join(f"{blob}\n" for blob in files.values()).encode())
    found = {}
    for name in files:
        head, _, rest = rest.partition(b"\n")
        if not head.endswith(b" missing"):
            size = int(head.split()[-1])
            found[name], rest = rest[:size], rest[size + 1 :]
    return found
