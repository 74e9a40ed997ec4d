"""The template's repository: its releases, and what its CHANGELOG says of them."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import CompletedProcess

from queue_template.git import COMMAND, TemplateError, git, make_repository, run_git
from queue_template.launch import address

RELEASE = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
HEADING = re.compile(r"^## \[?v?(\d+\.\d+\.\d+)\]?.*$", re.MULTILINE)
CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@(?=[^/])")
NEWEST = "refs/template/HEAD"
REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*", f"+HEAD:{NEWEST}")
MOVED = (
    f"If it has moved, or is a folder of another machine: {COMMAND} link URL; if it is private, git needs a key or a "
    "credential helper for it."
)
REWRITTEN = (
    "If its history was rewritten, put the commit that the project was last updated to into .cruft.json "
    "(into .copier-answers.yml as _commit_hash and _commit)."
)
Version = tuple[int, int, int]


@dataclass(frozen=True)
class Notes:
    """What the CHANGELOG says of one release. `breaking` is its section "Breaking", or empty."""

    version: str
    text: str
    breaking: str


class Releases:
    """The template's repository, in a mirror of it that the project keeps.

    `url` may be all that git or cookiecutter understand, relative to the folder `base`.
    """

    def __init__(self, url: str, base: Path, mirror: Path) -> None:
        self.folder = mirror
        self._shown = without_secrets(url)
        self._url, self._environment = address(url, base)
        if mirror.exists() and self._run("rev-parse", "--show-object-format").stdout.strip() == "sha256":
            shutil.rmtree(mirror)  # git made it when that was its default, and nothing can be fetched into it
        make_repository(mirror.parent, "sha1", "--bare", str(mirror))  # cruft reads no other

    def fetch(self, advice: str = MOVED) -> None:
        """Bring the mirror up to date. Raises TemplateError, which ends with the advice."""
        done = self._run("fetch", "--quiet", "--prune", "--force", self._url, *REFS, **self._environment)
        if done.returncode != 0:
            said = without_secrets(" ".join(done.stderr.split()))
            raise TemplateError(f"The template can't be read: {self._shown} ({said}). {advice}")

    def has(self, commit: str) -> bool:
        """Whether the mirror has this commit."""
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def has_released(self, commit: str) -> bool:
        """Whether a branch or a tag has this commit; a mirror may have others, of a template that was here before."""
        return bool(run_git(self.folder, "for-each-ref", "--count=1", "--contains", commit).stdout)

    def latest(self) -> str:
        """The tag of the latest release, or the newest commit of a template that has none."""
        releases = [(version, tag) for tag in self._tags() if (version := version_of(tag)) is not None]
        return max(releases)[1] if releases else NEWEST

    def commit(self, reference: str, advice: str = REWRITTEN) -> str:
        """The commit of a tag, a branch or a commit. Raises TemplateError if there is none."""
        for name in (f"refs/tags/{reference}", f"refs/heads/{reference}", reference):
            done = self._run("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
            if done.returncode == 0:
                return done.stdout.strip()
        releases = ", ".join(self._tags()) or "none"
        raise TemplateError(f"The template has no {reference!r}. Releases: {releases}. {advice}")

    def has_tool(self, commit: str) -> bool:
        """Whether the template had this tool at the commit, in its own repository."""
        return self._run("cat-file", "-e", f"{commit}:queue_template/cli.py").returncode == 0

    def name(self, commit: str) -> str:
        """`v1.2.0`, or `v1.2.0-3-gabcdef0` for three commits later, or the commit."""
        return self._git("describe", "--tags", "--always", commit).strip()

    def tag(self, commit: str) -> str | None:
        """The tag of a commit, if it has one."""
        name = self.name(commit)
        return name if self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{name}").stdout else None

    def contains(self, commit: str, other: str) -> bool:
        """Whether `commit` is `other`, or came after it."""
        return self._run("merge-base", "--is-ancestor", other, commit).returncode == 0

    def notes(self, old: str, new: str) -> list[Notes]:
        """What the CHANGELOG of the commit `new` says of the releases after the commit `old`, newest first."""
        known, text = (self._run("show", f"{commit}:CHANGELOG.md").stdout for commit in (old, new))
        before = {notes.version for notes in parse(known)}
        return [notes for notes in parse(without(known, text)) if notes.version not in before]

    def _git(self, *arguments: str) -> str:
        return git(self.folder, *arguments, environment={"GIT_DIR": str(self.folder)})

    def _run(self, *arguments: str, **environment: str) -> CompletedProcess[str]:
        """Run git in the mirror. It is named, since git may be told to find no bare repository by itself."""
        return run_git(self.folder, *arguments, environment={"GIT_DIR": str(self.folder), **environment})

    def _tags(self) -> list[str]:
        return self._git("tag").splitlines()


def version_of(tag: str) -> Version | None:
    """`v1.2.3` as numbers; None for what is no release, such as `v1.2.3-rc1`."""
    match = RELEASE.fullmatch(tag)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


def parse(changelog: str) -> list[Notes]:
    """The releases in a CHANGELOG. What is not released yet is left out."""
    found = []
    for part in re.split(r"^(?=## )", changelog, flags=re.MULTILINE):
        heading = HEADING.match(part)
        if heading:
            breaking = re.search(r"^### Breaking[^\n]*\n(.*?)(?=^### |\Z)", part, re.DOTALL | re.MULTILINE)
            found.append(Notes(heading[1], part.strip(), breaking[1].strip() if breaking else ""))
    return found


def without(known: str, changelog: str) -> str:
    """A CHANGELOG without the entries that an older one had as not released yet, whatever release they are of now."""
    released = HEADING.search(known)
    entries = re.split(r"^(?=- |#)", known[: released.start()] if released else known, flags=re.MULTILINE)
    seen = {entry.strip() for entry in entries if entry.startswith("- ")}
    news = [item for item in re.split(r"^(?=- |#)", changelog, flags=re.MULTILINE) if item.strip() not in seen]
    # A heading goes with its entries, unless there is text of its own.
    return "".join(
        item
        for item, after in pairwise([*news, ""])
        if not re.fullmatch(r"### .*\s*", item) or after.startswith(("- ", "####"))
    )


def without_secrets(text: str) -> str:
    """The text, without the user and token of a URL."""
    return CREDENTIALS.sub("", text)
