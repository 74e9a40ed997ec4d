"""How a bake was asked for, what is in its way where it goes, and what becomes of it when it is stopped halfway.

cookiecutter tells a template nothing of how it was called. So the arguments are read where they are: in the calls that
led here, of functions that are cookiecutter's and cruft's own interface.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

FOLDER = "{{cookiecutter.project_slug}}"
ANSWERS_FILE = "{{_copier_conf.answers_file}}"
"""A file that only copier makes."""
WRITTEN = ("app/queue/handlers/{}.py", "tests/handlers/test_{}.py")
"""What the post-gen hook writes for each queue."""
WHOLLY_OURS = "app/queue"
"""A folder of which the hook deletes what nobody chose."""
IN_QUOTES = "In YAML and JSON, an answer stands in quotes"
MADE_FROM = ".queue-template.json"
"""What every project of this template has."""


class BakeRefusedError(Exception):
    """A bake that must not begin. The text is one line."""


def call_of(function: str, frame: FrameType | None = None) -> dict[str, Any] | None:
    """The arguments and variables of a function of cookiecutter or cruft that is running; None if it isn't."""
    frame = frame or sys._getframe()
    for caller in _callers(frame):
        package = str(caller.f_globals.get("__name__", "")).partition(".")[0]
        if caller.f_code.co_name == function and package in ("cookiecutter", "cruft"):
            return caller.f_locals
    return None


def _callers(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def template_files() -> list[str]:
    """The files of the template's folder, relative, with '/'."""
    root = Path(__file__).parent / FOLDER
    found = [path for path in root.rglob("*") if not path.is_dir() and path.name != ANSWERS_FILE]
    return sorted(path.relative_to(root).as_posix() for path in found)


def check_given(questions: Mapping[str, Any], unasked: Collection[str]) -> None:
    """Check what cookiecutter would drop without a word, before the first question. Raises BakeRefusedError.

    These are an answer in a user's configuration that can't be one, with all that stand behind it; and an answer on the
    command line to what is no question.
    """
    baking, cruft = call_of("cookiecutter"), call_of("generate_cookiecutter_context")
    call = baking or cruft
    if call is None or call.get("replay"):
        return
    config = sys.modules["cookiecutter.config"].get_user_config(call["config_file"], call["default_config"])
    for name, value in config["default_context"].items():
        if name in questions and not name.startswith("__"):
            checked_kind(name, value, questions[name])
    unknown = [name for name in (baking or {}).get("extra_context") or {} if name not in questions]
    if unknown:
        known = ", ".join(name for name in questions if name in unasked or not name.startswith("_"))
        raise BakeRefusedError(f"There is no answer {', '.join(map(repr, unknown))}; there are: {known}")


def checked_kind(name: str, value: Any, question: Any) -> str:
    """The answer as text. Raises BakeRefusedError if it is none of the choices, or is no text in YAML or JSON."""
    shown = json.dumps(value, ensure_ascii=False, default=str)[:80]
    if isinstance(question, list) and value not in question:
        raise BakeRefusedError(f"{name}: {shown} is none of: {', '.join(question)}. {IN_QUOTES}")
    if value is None or isinstance(value, bool | list | dict):
        raise BakeRefusedError(f"{name}: {shown} must be text. {IN_QUOTES}")
    return str(value)


def begin(answers: Mapping[str, Any], queues: Iterable[str]) -> None:
    """Called when all answers are known, and nothing is on disk yet. Raises BakeRefusedError."""
    call = call_of("generate_files")
    if call is None:
        return
    if not call["accept_hooks"]:
        raise BakeRefusedError(
            "Without its hooks this template makes no project that works: they write the handlers. Bake it with "
            "--accept-hooks yes; what they do is in the template's folder hooks/"
        )
    project = Path(call["output_dir"], str(answers["project_slug"])).absolute()
    names = template_files() + [name.format(queue) for queue in queues for name in WRITTEN]
    if call["overwrite_if_exists"]:
        _check_room(project, names)
    if not call["keep_project_on_failure"]:
        _take_back_if_it_fails(answers, project, names)
    _finish_whatever_is_pressed()


def _check_room(project: Path, names: list[str]) -> None:
    """Nothing that a bake would write may be there: neither cookiecutter nor the hook spares what is there."""
    if (project / MADE_FROM).exists():
        raise BakeRefusedError(
            f"{project} has a project of this template already, and a bake over it would lose work. To change it, call "
            "there: python template.py update, or set NAME=VALUE (python template.py --help)"
        )
    tops = [project / top for top in {name.partition("/")[0] for name in names}]
    found = [project] if project.exists() and not project.is_dir() else [top for top in tops if top.is_symlink()]
    found += [path for path in map(project.joinpath, [WHOLLY_OURS, *names]) if os.path.lexists(path)]
    if found:
        shown = ", ".join(sorted({path.relative_to(project.parent).as_posix() for path in found})[:5])
        raise BakeRefusedError(
            f"In {project.parent} there are already {shown}, which the bake would write over. Move them away first, or "
            "choose another project_slug or --output-dir"
        )


def _take_back_if_it_fails(answers: Mapping[str, Any], project: Path, names: list[str]) -> None:
    """An error of the operating system that ends the program shall end it in one line, and leave nothing."""
    missing = [path for path in (project, *project.parents) if not path.exists()]
    before = sys.excepthook

    def ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        calls = (frame.f_locals for frame, _ in traceback.walk_tb(trace) if frame.f_code.co_name == "generate_files")
        ours = any(call.get("context", {}).get("cookiecutter") is answers for call in calls)
        if not ours or not isinstance(error, OSError):
            before(kind, error, trace)
            return
        _remove(project, names, missing)
        while isinstance(error.__cause__, OSError):  # cookiecutter's own words say less
            error = error.__cause__
        print(f"Error: The project can't be written: {error}", file=sys.stderr)

    sys.excepthook = ended


def _remove(project: Path, names: list[str], missing: list[Path]) -> None:
    """Remove what a bake wrote. None of it was there before."""
    folders = {folder for name in names for folder in (project / name).parents if project in folder.parents}
    for name in names:
        with suppress(OSError):
            (project / name).unlink()
    for folder in [*sorted(folders, reverse=True), *missing]:
        with suppress(OSError):  # it has something of somebody else's
            folder.rmdir()


def _finish_whatever_is_pressed() -> None:
    """Let Ctrl-C wait while files are written, which takes a second: half a project would be of no use."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        return

    def pressed(number: int, frame: FrameType | None) -> None:
        if call_of("generate_files", frame) is None:
            signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, pressed)
