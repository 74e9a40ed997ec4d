"""Files of a commit, byte for byte."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from queue_template.git import clean_environment, git


def names_in(folder: Path, commit: str, *paths: str) -> list[str]:
    """The files of a commit below these paths."""
    listed = git(folder, "ls-tree", "-r", "-z", "--name-only", "--full-tree", commit, "--", *paths)
    return [name for name in listed.split("\0") if name]


def read(folder: Path, commit: str, names: Iterable[str]) -> dict[str, bytes]:
    """What a commit has of these files; nothing of one that it doesn't have, or that is no file."""
    wanted = list(names)
    asked = "".join(f"{commit}:{name}\n" for name in wanted).encode("utf-8", "surrogateescape")
    done = subprocess.run(
        ["git", "cat-file", "--batch"],
        cwd=folder,
        env=clean_environment(),
        input=asked,
        capture_output=True,
        check=True,
    )
    found, rest = {}, done.stdout
    for name in wanted:
        head, _, rest = rest.partition(b"\n")
        words = head.split(b" ")
        if words[-1] != b"missing":
            size = int(words[-1])
            if words[-2] == b"blob":
                found[name] = rest[:size]
            rest = rest[size + 1 :]
    return found
