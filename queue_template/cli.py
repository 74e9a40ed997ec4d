"""`queue-template COMMAND`: see `--help`."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated

import typer

from queue_template import commands
from queue_template.alone import alone
from queue_template.change import Options
from queue_template.git import TemplateError
from queue_template.launch import COPIER, CRUFT
from queue_template.link import link as link_
from queue_template.project import find_folder, find_project
from queue_template.relink import relink
from queue_template.upgrade import update

HELP = """Keep a project up with the template it was made from.

A change is shown first, and made after a yes; `undo` takes it back. `link` writes one file, and asks nothing. What is
done is staged, not committed.

Exit codes: 0 done, 1 refused or declined, 2 wrong usage, 3 conflicts are left, or behind (status --exit-code)."""
PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""For a command whose arguments are another program's."""

STOPPED = 130
"""What typer makes of Ctrl-C."""


def _end(code: int | None, **_: object) -> None:
    """What a command returns is the exit code."""
    raise typer.Exit(code or 0)


app = typer.Typer(
    help=HELP,
    result_callback=_end,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
Diff = Annotated[bool, typer.Option("--diff", help="Show every changed line.")]
Pairs = Annotated[list[str], typer.Argument(metavar="NAME=VALUE...")]


@app.callback(invoke_without_command=True)
def _whole(
    show: Annotated[bool, typer.Option("--version", help="Show the version of this tool.")] = False,
) -> None:
    if show:
        try:
            print(version("queue-template"))
        except PackageNotFoundError:
            print("not installed")
        raise typer.Exit


@app.command()
def status(
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit with 3 if it is behind.")] = False,
) -> int:
    """Is the project behind, and by what?"""
    return commands.status(find_project(), exit_code=exit_code)


@app.command(name="update")
def _update(
    to: Annotated[str | None, typer.Option(metavar="REF", help="A tag, branch or commit instead.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="With another answer.")] = None,
    yes: Yes = False,
    diff: Diff = False,
) -> int:
    """Take in the template's latest release."""
    with alone() as project:
        return update(project, Options(yes, diff), to, pairs(set_ or []))


@app.command()
def add_queue(
    queue: Annotated[
        str, typer.Argument(help="Such as 'orders', or 'orders@memory!nodlq: order.created, order.paid'.")
    ],
    yes: Yes = False,
    diff: Diff = False,
) -> int:
    """Add a queue, its handler and its test."""
    with alone() as project:
        return commands.add_queue(project, Options(yes, diff), queue)


@app.command()
def add_type(
    queue: str, type_: Annotated[str, typer.Argument(metavar="TYPE")], yes: Yes = False, diff: Diff = False
) -> int:
    """Add a message type to a queue."""
    with alone() as project:
        return commands.add_type(project, Options(yes, diff), queue, type_)


@app.command()
def remove_queue(
    queue: str,
    delete_edited: Annotated[
        bool, typer.Option("--delete-edited", help="With --yes: also what you wrote (git keeps it).")
    ] = False,
    yes: Yes = False,
    diff: Diff = False,
) -> int:
    """Remove a queue, its handler and its test."""
    with alone() as project:
        return commands.remove_queue(project, Options(yes, diff), queue, delete_edited=delete_edited)


@app.command(name="set")
def _set(answers: Pairs, yes: Yes = False, diff: Diff = False) -> int:
    """Change an answer."""
    with alone() as project:
        return commands.change_answers(project, Options(yes, diff), pairs(answers))


@app.command()
def undo() -> int:
    """Take back what is not committed."""
    with alone() as project:
        return commands.take_back(project)


@app.command()
def link(
    url: Annotated[str | None, typer.Argument(help="The template's address; none if the project has a link.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="REF", help="The tag or commit it was made from; the release it names itself.")
    ] = None,
    copier: Annotated[
        bool | None,
        typer.Option("--copier/--cruft", help="By .copier-answers.yml, for copier, or by .cruft.json, for cruft."),
    ] = None,
) -> int:
    """Link a project that was made by cookiecutter to its template, or change a link from cruft to copier, and back."""
    name = None if copier is None else COPIER if copier else CRUFT
    if url is not None:
        with alone() as project:
            return link_(project, url, at, name)
    if name is None:
        raise TemplateError("Name the template's address, or --copier or --cruft to change a link that is there.")
    with alone() as project:
        return relink(project, name)


@app.command(context_settings=PASSED_ON, add_help_option=False)
def check(context: typer.Context) -> int:
    """Run the tests of the template's core and the contract suite against this project. Takes pytest's options."""
    return _checks("check", context.args)


@app.command(context_settings=PASSED_ON, add_help_option=False)
def faults(context: typer.Context) -> int:
    """Run the fault suite against this project: it kills, freezes and fills brokers of its own."""
    return _checks("faults", context.args)


def _checks(name: str, arguments: list[str]) -> int:
    """Call a function of `checks`, which no other command needs, and which is slow to import."""
    code: int = getattr(import_module("queue_template.checks"), name)(find_folder(), arguments)
    return code


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a console that has no emoji
    code = _run(arguments)
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on, as behind `| head`; Python would try again at its end, and complain
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return code


def _run(arguments: list[str] | None) -> int:
    try:
        app(sys.argv[1:] if arguments is None else arguments)  # given as they are: typer would expand a * on Windows
    except (TemplateError, OSError) as error:  # the system's own: a file that may not be read, a full disk
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except SystemExit as end:
        if end.code == STOPPED:
            print("\nStopped.", file=sys.stderr)
            return 1
        return int(end.code or 0)
    return 0


def pairs(texts: list[str]) -> dict[str, str]:
    """`NAME=VALUE` as a dict. Raises TemplateError."""
    for text in texts:
        if "=" not in text:
            raise TemplateError(f"{text!r} must be NAME=VALUE, such as max_attempts=7")
    return {name.strip(): value for name, _, value in (text.partition("=") for text in texts)}
