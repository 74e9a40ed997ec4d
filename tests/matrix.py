"""Every combination of answers through every kind of change, for three users: `python -m tests.matrix` prints it.

The releases are commits of a real repository, cruft renders them, and queue-template merges. cruft is
called in this process, and a render is used again: that is all that differs from a user's command.
"""

from __future__ import annotations

import contextlib
import copy
import io
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from queue_template import change, commands, render
from queue_template.answers import answers_of
from queue_template.change import Options
from queue_template.link import MADE_FROM
from queue_template.project import find_project
from queue_template.queues import answers_now
from queue_template.upgrade import update
from scripts.export import export
from tests.releases import RELEASES, make_repository
from tests.repository import commit, environment, run
from tests.test_combinations import COMBINATIONS
from tests.touched import touch
from tests.wild import go_wild, neighbours

EQUAL, KEPT = "=", "kept"
UNTOUCHED, TOUCHED, WILD = USERS = ("untouched", "touched", "wild")
"""Nobody has changed anything; a user's work is in it; and a project among others, with tools and bots at work."""


@dataclass(frozen=True)
class Cell:
    """What became of one project in one change. `flaw` says what is wrong, and is empty if nothing is."""

    combination: str
    kind: str
    user: str
    result: str
    flaw: str = ""


class Renders:
    """Renders of the template by cruft, each made once."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self.repository = repository
        self.folder = folder
        self.made: dict[str, Any] = {}

    def render(self, commit: str, answers: dict[str, Any]) -> Any:
        """As `queue_template.render.render` does it."""
        from cruft import create  # noqa: PLC0415 - needed in worker processes alone

        key = f"{commit} {sorted(answers.items())}"
        if key not in self.made:
            output = self.folder / str(len(self.made))
            output.mkdir(parents=True)
            with _template_of_its_own():
                project = create(
                    str(self.repository), output, default_config=True, extra_context=answers, checkout=commit
                )
            self.made[key] = render.Render(*render.with_state(project, {"template": str(self.repository)}))
        return self.made[key]


@contextlib.contextmanager
def _template_of_its_own() -> Iterator[None]:
    """Without the extension of this very repository, which would be imported in the place of the rendered commit's."""
    path, here = sys.path[:], Path(__file__).parents[1]
    sys.path[:] = [entry for entry in path if Path(entry).resolve() != here]
    sys.modules.pop("queue_template_extension", None)
    try:
        yield
    finally:
        sys.path[:] = path


def rows(repository: Path, answers: dict[str, str]) -> list[Cell]:
    """One combination through all kinds of change."""
    os.environ.update(environment())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        renders = Renders(repository, folder / "renders")
        _use(renders)
        cells = []
        for user in USERS:
            cells += Walk(renders, folder / user, answers, user).cells()
        return cells


def _use(renders: Renders) -> None:
    def render_both(_clone: Path, scratch: Path, _state: object, _skip: object, old: Any, new: Any) -> Any:
        made = {"old": renders.render(*old), "new": renders.render(*new)}
        for name, one in made.items():  # the merge puts them into the form of the user's files
            shutil.copytree(one.path, scratch / name)
        return tuple(render.Render(scratch / name, copy.deepcopy(one.state)) for name, one in made.items())

    vars(change)["render_both"] = render_both


class Walk:
    """One project on its way from release to release, and from answer to answer."""

    def __init__(self, renders: Renders, top: Path, answers: dict[str, str], user: str) -> None:
        self.renders = renders
        self.answers = answers
        self.name = " ".join(answers.values())
        self.user = user
        path = top / "services/mine" if user == WILD else top
        first = run(renders.repository, "git", "rev-parse", "v0.1.0").strip()
        made = renders.render(first, answers)
        shutil.copytree(made.path, path)
        render.write_state(path / ".cruft.json", made.state)
        if user == WILD:
            neighbours(top)
        run(top, "git", "init", "--quiet", "--initial-branch", "main")
        commit(top, "From the template")
        work = {TOUCHED: touch, WILD: go_wild}.get(user)
        self.lines = work(path) if work else {}
        commit(path, "Work")
        self.start = run(path, "git", "rev-parse", "HEAD").strip()
        self.project = find_project(path)

    def cells(self) -> list[Cell]:
        """Every kind of change, one after the other; and at the end all releases at once."""
        yes, project = Options(yes=True), self.project
        last = self.answers["queues"].rpartition(";")[2].strip().partition(":")[0].partition("@")[0].partition("!")[0]
        found = [
            self.cell(release.title, lambda to=f"v{release.version}": update(project, yes, to, {}))
            for release in RELEASES
        ]
        more = "new_one@memory: one, two.three"
        found += [
            self.cell("add a queue", lambda: commands.add_queue(project, yes, more)),
            self.cell("add a type", lambda: commands.add_type(project, yes, last, "added.type")),
            self.cell("an answer", lambda: commands.change_answers(project, yes, {"max_attempts": "7"})),
            self.cell("remove a queue", lambda: commands.remove_queue(project, yes, "new_one", delete_edited=False)),
        ]
        found.append(self.tests())
        run(project.path, "git", "reset", "--hard", "--quiet", self.start)
        found.append(self.by_cookiecutter())
        found.append(self.cell("all at once", lambda: update(project, yes, None, {})))
        return found

    def tests(self) -> Cell:
        """After all of this, its style and its tests. An untouched one is a fresh bake, which is tested as such."""
        if self.user != UNTOUCHED:
            try:
                run(self.project.path, "ruff", "check", "--no-cache", "--quiet", ".")
                run(
                    self.project.path,
                    "pytest",
                    "-q",
                    "-p",
                    "no:cacheprovider",
                    "tests/test_service.py",
                    "tests/handlers",
                )
            except AssertionError as error:
                return self._cell("its tests", f"tests fail: {error}")
        return self._cell("its tests", "")

    def by_cookiecutter(self) -> Cell:
        """The latest release made by cookiecutter and by cruft."""
        from cookiecutter.main import cookiecutter  # noqa: PLC0415

        repository, folder = self.renders.repository, self.project.path.parent / f"cookiecutter {self.user}"
        folder.mkdir()
        config = folder / "config.yaml"
        config.write_text(f"cookiecutters_dir: {folder}\nreplay_dir: {folder}\n", encoding="utf-8")
        options: dict[str, Any] = {"no_input": True, "config_file": str(config), "output_dir": str(folder)}
        with _template_of_its_own():
            made = Path(cookiecutter(str(repository), extra_context=self.answers, **options))
        latest = run(repository, "git", "rev-parse", "HEAD").strip()
        names = different(content(made), content(self.renders.render(latest, self.answers).path))
        return self._cell("by cookiecutter", f"another tree than cruft's: {names}" if names else "")

    def cell(self, kind: str, do: Any) -> Cell:
        """Make a change, look at what came out, commit it."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                code = do()
        except Exception as error:  # noqa: BLE001 - whatever it is, it belongs in the table
            return self._cell(kind, f"refused: {error}")
        if code != 0:
            run(self.project.path, "git", "reset", "--hard", "--quiet", "HEAD")
            return self._cell(kind, "conflict: " + said.getvalue())
        commit(self.project.path, kind)
        if self.user != UNTOUCHED:
            lost = self.lost_lines()
            return self._cell(kind, f"lost lines: {lost}" if lost else "")
        return self._cell(kind, self.difference())

    def _cell(self, kind: str, flaw: str) -> Cell:
        good = EQUAL if self.user == UNTOUCHED else KEPT
        return Cell(self.name, kind, self.user, flaw.partition(":")[0] if flaw else good, flaw)

    def difference(self) -> str:
        """What differs from a fresh bake, in the bytes or the list of files."""
        state = self.project.state()
        fresh = content(self.renders.render(state["commit"], answers_now(self.project, state)).path)
        # What it was made from is not written for every queue that is added.
        recorded = content(self.renders.render(state["commit"], answers_of(state)).path)
        fresh[MADE_FROM] = recorded[MADE_FROM]
        listed = run(self.project.path, "git", "ls-files").splitlines()
        ours = {name: (self.project.path / name).read_bytes() for name in listed if name != ".cruft.json"}
        names = different(ours, fresh)
        return f"not the fresh bake: {names}" if names else ""

    def lost_lines(self) -> list[str]:
        """The user's lines that are no longer there."""
        lost = []
        for name, lines in self.lines.items():
            file = self.project.path / name
            there = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
            # An import that is completed begins as it did.
            lost += [f"{name}: {line}" for line in lines if not any(found.startswith(line) for found in there)]
        return lost


def content(folder: Path) -> dict[str, bytes]:
    """Every file's bytes."""
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def different(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """The names of files that differ, or are missing on one side."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def matrix(template: Path, folder: Path, combinations: list[dict[str, str]]) -> list[Cell]:
    """All of it, on two processors."""
    repository = make_repository(template, folder / "queue-template", RELEASES)
    found, began = list[Cell](), time.monotonic()
    with ProcessPoolExecutor(2, initializer=_quiet) as processes:
        for cells in processes.map(rows, [repository] * len(combinations), combinations):
            found += cells
            flaws = sum(bool(cell.flaw) for cell in cells)
            after = time.monotonic() - began
            print(f"{after:5.0f} s: {cells[0].combination}: {len(cells)} changes, {flaws} wrong", file=sys.stderr)
    return found


def _quiet() -> None:
    """The hook's farewell is printed at every render."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def table(cells: list[Cell]) -> str:
    """One line a combination; in each column the project of each kind of user."""
    kinds = list(dict.fromkeys(cell.kind for cell in cells))
    lines = ["| combination | " + " | ".join(kinds) + " |", "| --- " * (len(kinds) + 1) + "|"]
    for name in dict.fromkeys(cell.combination for cell in cells):
        row = {(cell.kind, cell.user): cell.result for cell in cells if cell.combination == name}
        results = (" / ".join(row[kind, user] for user in USERS) for kind in kinds)
        lines.append(f"| {name} | " + " | ".join(results) + " |")
    return "\n".join(lines)


def main() -> int:
    """Print the table, and what is wrong."""
    with tempfile.TemporaryDirectory() as name:
        cells = matrix(export(Path(name) / "template"), Path(name), COMBINATIONS)
    print(table(cells))
    print(f"\n{EQUAL}: untouched, and byte for byte a fresh bake. {KEPT}: every line of the user's is there.")
    for cell in cells:
        if cell.flaw:
            print(f"\n{cell.combination}, {cell.kind}, {cell.user}: {cell.flaw}")
    return any(cell.flaw for cell in cells)


if __name__ == "__main__":
    sys.exit(main())
