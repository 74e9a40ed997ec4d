"""git's index: what it has of the project's files, and putting in exactly these entries."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from queue_template.git import git, git_bytes, run_git

LINK, SUBMODULE = "120000", "160000"


@dataclass(frozen=True)
class Entry:
    """What git has at a path. `mode` is git's: 100644, 100755, 120000 for a link, 160000 for a submodule."""

    mode: str
    blob: str


@dataclass(frozen=True)
class Indexed:
    """What the index has at a path.

    Attributes:
        stages: an entry for each stage: 0 alone, or in a conflict 1 (the old render), 2 (the user's), 3 (the new one).
        skipped: git was told that the file need not be there: a sparse checkout.
        unwatched: git was told not to look whether it changes: `assume-unchanged`.
    """

    stages: dict[int, Entry]
    skipped: bool = False
    unwatched: bool = False


def tree(folder: Path, of: str, prefix: str = "") -> dict[str, Entry]:
    """All that a commit or a tree has, below a folder of it if one is named."""
    listed = git(folder, "ls-tree", "-r", "-z", "--full-tree", of, *(["--", prefix] if prefix else []))
    found = {}
    for line in filter(None, listed.split("\0")):
        head, _, name = line.partition("\t")
        mode, _, blob = head.split()
        found[name] = Entry(mode, blob)
    return found


def tracked_size(folder: Path, prefix: str) -> int:
    """Bytes of all files below a folder that the index has, as far as they are on disk: git itself might fetch them."""
    names = git(folder, "ls-files", "-z", "--", prefix or ".").split("\0")
    return sum((folder / name).lstat().st_size for name in names if name and os.path.lexists(folder / name))


def index(folder: Path, prefix: str = "") -> dict[str, Indexed]:
    """All that the index has, below a folder if one is named. `folder` is the repository's."""
    found: dict[str, Indexed] = {}
    for line in filter(None, git(folder, "ls-files", "-v", "-s", "-z", "--", prefix or ".").split("\0")):
        head, _, name = line.partition("\t")
        tag, mode, blob, stage = head.split()
        before = found[name].stages if name in found else {}
        found[name] = Indexed(before | {int(stage): Entry(mode, blob)}, tag in "Ss", tag.islower())
    return found


def stages_of(there: Indexed | None) -> dict[int, Entry]:
    """What it has at a path, whatever git was told of the file: which git forgets of one that is on disk again."""
    return there.stages if there else {}


def put_into_index(
    folder: Path, entries: Mapping[str, Indexed | None], environment: Mapping[str, str] | None = None
) -> None:
    """Have the index say this of these paths, all at once; None is for what shall not be there."""
    blobs = [entry.blob for wanted in entries.values() if wanted for entry in wanted.stages.values()]
    none = "0" * len(blobs[0] if blobs else git(folder, "hash-object", "--stdin").strip())  # 40 digits, or 64
    lines = []
    for name, wanted in entries.items():
        lines.append(f"0 {none}\t{name}\0")
        for stage, entry in (wanted.stages if wanted else {}).items():
            lines.append(f"{entry.mode} {entry.blob} {stage}\t{name}\0")
    git(folder, "update-index", "-z", "--index-info", given="".join(lines), environment=environment)
    for mark in ("skipped", "unwatched"):
        option = {"skipped": "--skip-worktree", "unwatched": "--assume-unchanged"}[mark]
        if names := [name for name, wanted in entries.items() if wanted and getattr(wanted, mark)]:
            git(folder, "update-index", option, "-z", "--stdin", given=joined(names), environment=environment)


def lay_out(folder: Path, wanted: Mapping[str, Entry], into: Path) -> None:
    """Write these files below `into`, just as git would write them into its work tree."""
    environment = {"GIT_INDEX_FILE": f"{into.absolute()}.index"}
    git(folder, "read-tree", "--empty", environment=environment)
    put_into_index(folder, {name: Indexed({0: entry}) for name, entry in wanted.items()}, environment)
    git(folder, "checkout-index", "--all", "--quiet", f"--prefix={into.as_posix()}/", environment=environment)
    Path(environment["GIT_INDEX_FILE"]).unlink()


def lay_out_raw(folder: Path, name: str, entry: Entry, into: Path) -> None:
    """Write this file below `into`, byte for byte, whatever filter or end of line git has for it."""
    file = into / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(git_bytes(folder, "cat-file", "blob", entry.blob))
    if entry.mode == "100755":
        file.chmod(0o755)


def refresh(folder: Path, names: Iterable[str]) -> None:
    """Have git look at these files now, so that no later command takes them for changed ones."""
    options = ("--refresh", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul")
    run_git(folder, "add", *options, given=joined(names))


def joined(names: Iterable[str]) -> str:
    """Names as git reads them with `-z`."""
    return "".join(f"{name}\0" for name in names)
