"""What is looked after once the lines are merged: stubs that have to land in the user's handlers, and their imports.

All of it is text by name, so that it does not matter who merged the lines, and where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from queue_template.git import TemplateError
from queue_template.handlers import (
    FOLDER,
    Home,
    Sources,
    additions,
    homes,
    lacks,
    names_in,
    only_adds,
    parsed,
    stub_text,
    with_functions,
    with_stub,
)
from queue_template.imports import with_missing_imports
from queue_template.names import unbound
from queue_template.packages import INIT, put_into

TESTS = "tests/handlers/"
TEMPLATES_OWN = {"__init__.py", "register_handlers.py", "conftest.py"}


@dataclass
class Finish:
    """Modules below `app/` and `tests/`, before the merge and after it, and the template's two renders of them.

    Attributes:
        before: the user's modules, as they were.
        merged: the same after the merge of lines, which may have left conflicts in some. Changed in place.
        conflicts: the names of those.
        old: the template's, as they were.
        new: the template's, as they are to be.
        settled: names that are no conflict any more, and not deleted by the user either: the stub is somewhere else.
        by_hand: what the user has to do, in words.
        kept: the names of modules in which a class of the user's handles a queue that is new.
    """

    before: Sources
    merged: dict[str, str]
    conflicts: set[str]
    old: Sources
    new: Sources
    settled: set[str] = field(default_factory=set)
    by_hand: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Put every stub where it belongs, with the imports it needs; say what could not be done."""
        for name in self._added():
            self._place(name)
        for name in self._changed(FOLDER):
            self._finish_handler(name)
        for name in self._changed(TESTS):
            self._finish_test(name)
        for name, text in self.merged.items():
            if name not in self.conflicts and text not in (self.before.get(name), self.new.get(name)):
                self._check(name, text)

    def _changed(self, folder: str) -> Iterator[str]:
        for name in sorted(self.new):
            own = name.startswith(folder) and PurePosixPath(name).name not in TEMPLATES_OWN
            if own and self.old.get(name, self.new[name]) != self.new[name]:
                yield name

    def _added(self) -> list[str]:
        others = {*self.old, *self.before}
        return [name for name in sorted(self.new) if name.startswith(FOLDER) and name not in others]

    def _place(self, name: str) -> None:
        """A new stub: none if a class handles the queue already, and in the package of its name if there is one."""
        queue, package = PurePosixPath(name).stem, name.removesuffix(".py") + "/"
        if found := homes(self.before).get(queue):
            self.merged.pop(name, None)
            self.kept += [home.name for home in found]
        elif f"{package}{INIT}" in self.before:
            made = put_into(package, queue, self.new[name], self.before, self.before[f"{package}{INIT}"])
            if made is None:
                raise TemplateError(
                    f"{name} would be hidden by the package {package}, and that has no place for it: its {INIT} is no "
                    "Python, or each name that it could have is taken. Make room there, and try again."
                )
            self.merged.pop(name, None)
            self.merged.update(made)

    def _finish_handler(self, name: str) -> None:
        old, new = self.old[name], self.new[name]
        queue = PurePosixPath(name).stem
        found = homes(self.before).get(queue, [])
        if len(found) != 1:
            if additions(old, new)[1]:
                where = ", ".join(f"{home.node.name} in {home.name}" for home in found)
                self._give_up(
                    queue, f"{len(found)} classes handle it: {where}" if where else "no class handles it", name
                )
            return
        (home,) = found
        if not self._has_all(home, queue, old, new):
            adds = only_adds(old, new)
            if not adds and home.name in self.conflicts:
                return
            source = self.before[home.name] if adds or home.name not in self.merged else self.merged[home.name]
            text = with_stub(source, home, old, new)
            if text is None or parsed(text) is None:
                self._give_up(queue, f"there is no place for it in {home.node.name}", name)
                return
            self._set_back(name, home.name)
            self.merged[home.name] = text
        if home.name != name:
            self.settled.add(name)
        self.merged[home.name] = with_missing_imports(self.merged[home.name], new)

    def _has_all(self, home: Home, queue: str, old: str, new: str) -> bool:
        if home.name in self.conflicts or home.name not in self.merged:
            return False
        return any(
            after.name == home.name and after.node.name == home.node.name and not lacks(after, old, new)
            for after in homes(self.merged).get(queue, [])
        )

    def _set_back(self, name: str, home: str) -> None:
        """What the merge did to the modules of a package, or to the class, is done over: it was in the wrong place."""
        package = name.removesuffix(".py") + "/"
        for own in self.before:
            if own in (name, home) or own.startswith(package):
                self.merged[own] = self.before[own]
                self.conflicts.discard(own)
                self.settled.add(own)

    def _give_up(self, queue: str, why: str, name: str) -> None:
        self.by_hand.append(
            f"The handler of {queue}: {why}. Put this where it belongs, in app/queue/handlers/:\n\n"
            f"{stub_text(self.old[name], self.new[name])}"
        )

    def _finish_test(self, name: str) -> None:
        old, new = self.old[name], self.new[name]
        wanted = {node.name for node in additions(old, new)[0]}
        if name in self.conflicts and not only_adds(old, new):
            return
        queue = PurePosixPath(name).stem.removeprefix("test_")
        calls = (f'handler_of("{queue}")', f"handler_of('{queue}')")
        homes_ = [own for own in [name] if own in self.before]
        homes_ += sorted(
            own for own, text in self.before.items() if own != name and any(call in text for call in calls)
        )
        if not homes_:
            return  # the user wants no test of it
        there = [parsed(self.merged[own]) for own in homes_ if own in self.merged and own not in self.conflicts]
        missing = wanted - {found for module in there if module for found in names_in(module)}
        if missing or name in self.conflicts:
            home = homes_[0]
            if parsed(self.before[home]) is None:
                return
            self._set_back(name, home)
            self.merged[home] = with_functions(self.before[home], old, new)
        for own in homes_:
            if own in self.merged and own not in self.conflicts and self.merged[own] != self.before[own]:
                self.merged[own] = with_missing_imports(self.merged[own], new)
                self.settled.add(name)

    def _check(self, name: str, text: str) -> None:
        module, was = parsed(text), parsed(self.before.get(name, ""))
        if was is None:
            return
        if module is None:
            self.by_hand.append(f"{name}: it can't be read as Python any more. What it was: git show HEAD:./{name}")
            return
        names = unbound(module) - unbound(was)
        if names:
            self.by_hand.append(f"{name}: it uses {', '.join(sorted(names))}, which nothing in it defines or imports.")
