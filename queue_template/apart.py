"""A repository apart, in a scratch folder: the project's own folder as it is in the last commit, to merge in.

No setting, hook, filter or attribute of the user's counts in it, nothing in it is a link, and the rest of a large
repository is not there. It borrows the objects of the user's, and puts nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from queue_template.filters import names_under_a_filter, plain
from queue_template.git import SOMEBODY, git, git_bytes, make_repository
from queue_template.index import LINK, SUBMODULE, Entry, Indexed, put_into_index, tree
from queue_template.loose import in_ignored_folders, on_disk
from queue_template.project import Project
from queue_template.render import Render

SETTINGS = """
[core]
	autocrlf = false
	symlinks = false
	fsmonitor = false
	sparseCheckout = false
	hooksPath = {none}
	attributesFile = {none}
	excludesFile = {none}
[merge]
	conflictStyle = diff3
	renames = true
	directoryRenames = false
[rerere]
	enabled = false
[advice]
	detachedHead = false
[commit]
	gpgSign = false
"""
# diff3 has what the template had, which `mend` needs; without directoryRenames, a new file of the user's stays where it
# was put.
ATTRIBUTES = "* merge !diff -text !eol -ident -filter !working-tree-encoding !conflict-marker-size\n"
Tree = dict[str, Entry]


@dataclass(frozen=True)
class Commits:
    """The project and the two renders as commits.

    Attributes:
        folder: the repository they are in. Its HEAD is the project.
        old, new: the two renders.
        dropped: the queue whose handler goes, however much it was edited.
        apart: files that are in neither render, as the user has another thing in their place: a link, or a folder
            for a file, or a file for a folder.
        filtered: files that are here as they are on the user's disk, since git has something else, and the filter that
            makes it.
        loose: files that git does not have, and that are changed on disk alone, as they are there; None for one that
            the template brings.
    """

    folder: Path
    old: str
    new: str
    dropped: str | None = None
    apart: list[str] = field(default_factory=list)
    filtered: dict[str, str] = field(default_factory=dict)
    loose: dict[str, Entry | None] = field(default_factory=dict)

    def dropped_files(self, prefix: str) -> list[str]:
        """The handler of the queue that goes, and its test."""
        if self.dropped is None:
            return []
        return [f"{prefix}app/queue/handlers/{self.dropped}.py", f"{prefix}tests/handlers/test_{self.dropped}.py"]


def set_apart(project: Project, scratch: Path, old: Render, new: Render, label: str, dropped: str | None) -> Commits:
    """Make the repository. `label` is what a conflict says of the template's side."""
    folder, head = scratch / "tried", project.head()
    _init(project, folder, "sha256" if len(head) == 64 else "sha1")
    before, after = (_add(project, folder, render.path) for render in (old, new))
    ours = tree(project.top, head, project.prefix)
    apart = in_place_of(ours, before, after)
    changed = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    filtered = names_under_a_filter(project.top, changed)
    for name in filtered.keys() & ours.keys() - apart:
        content = plain(project.top, name, ours[name].blob, filtered[name])
        ours[name] = Entry(ours[name].mode, _blob(folder, content))
    lacking = set(changed) - ours.keys()
    loose: dict[str, Entry | None] = {
        name: Entry(before[name].mode, _blob(folder, content))
        for name, content in on_disk(project, lacking & before.keys()).items()
    }
    loose |= dict.fromkeys(in_ignored_folders(project, lacking - before.keys(), before, ours))
    ours |= {name: entry for name, entry in loose.items() if entry}
    first = _commit(folder, without(before, apart), "Before")
    second = _commit(folder, without(after, apart), label, "-p", first)
    git(folder, "update-ref", "HEAD", _commit(folder, ours, "Yours"))
    git(folder, "reset", "--hard", "--quiet")
    return Commits(folder, first, second, dropped, sorted(apart & set(changed)), filtered, loose)


def _init(project: Project, folder: Path, kind: str) -> None:
    make_repository(project.top, kind, "--template=", str(folder))
    own, none = folder / ".git", folder / ".git" / "none"
    with (own / "config").open("a", encoding="utf-8") as file:
        file.write(SETTINGS.format(none=none.as_posix()))
    (own / "info").mkdir()
    (own / "info" / "attributes").write_text(ATTRIBUTES, encoding="utf-8")
    objects = (project.top / git(project.top, "rev-parse", "--git-path", "objects").strip()).resolve()
    (own / "objects" / "info" / "alternates").write_text(f"{objects.as_posix()}\n", encoding="utf-8")


def _add(project: Project, folder: Path, rendered: Path) -> Tree:
    environment = {
        "GIT_DIR": str(folder / ".git"),
        "GIT_WORK_TREE": str(rendered),
        "GIT_INDEX_FILE": str(folder / ".git" / "render.index"),
    }
    git(rendered, "read-tree", "--empty", environment=environment)
    git(rendered, "add", "--all", "--force", ".", environment=environment)
    made = git(rendered, "write-tree", environment=environment).strip()
    return {f"{project.prefix}{name}": entry for name, entry in tree(folder, made).items()}


def _commit(folder: Path, content: Tree, text: str, *parent: str) -> str:
    environment = {"GIT_INDEX_FILE": str(folder / ".git" / "making.index")}
    git(folder, "read-tree", "--empty", environment=environment)
    put_into_index(folder, {name: Indexed({0: entry}) for name, entry in content.items()}, environment)
    made = git(folder, "write-tree", "--missing-ok", environment=environment).strip()
    return git(folder, "commit-tree", made, "-m", text, *parent, environment=SOMEBODY).strip()


def _blob(folder: Path, content: bytes) -> str:
    return git_bytes(folder, "hash-object", "-w", "--stdin", given=content).decode().strip()


def in_place_of(ours: Tree, before: Tree, after: Tree) -> set[str]:
    """The files of the renders in whose place the user has another kind of thing, so that there is nothing to merge."""
    own = {name for name, entry in ours.items() if before.get(name) != entry}
    folders = {parent for name in own for parent in _parents(name)}
    found = set()
    for name in before.keys() | after.keys():
        made = {entry.mode for render in (before, after) if (entry := render.get(name))}
        other = name in own and ours[name].mode in (LINK, SUBMODULE) and ours[name].mode not in made
        if other or name in folders or own & set(_parents(name)):
            found.add(name)
    return found


def without(content: Tree, names: set[str]) -> Tree:
    """What is left of a tree."""
    return {name: entry for name, entry in content.items() if name not in names}


def _parents(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def hand_over(project: Project, commits: Commits, blobs: set[str]) -> None:
    """Put these blobs into the user's repository."""
    pack = git_bytes(commits.folder, "pack-objects", "-q", "--stdout", given="\n".join(sorted(blobs)).encode())
    git_bytes(project.top, "unpack-objects", "-q", given=pack)
