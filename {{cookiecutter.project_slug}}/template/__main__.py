"""`python -m template COMMAND`: see `--help`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from template import commands
from template.change import Options
from template.git import COMMAND, TemplateError
from template.project import find_project

EPILOG = """A change is shown first, and made after a yes. It is staged, not committed; `undo` takes it back.
exit codes: 0 done, 1 refused or declined, 2 wrong usage, 3 conflicts are left, or behind (status --exit-code)"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(
        prog=COMMAND,
        description="Keep this project up with the template it was made from.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    asking = argparse.ArgumentParser(add_help=False)
    asking.add_argument("-y", "--yes", action="store_true", help="don't ask")
    asking.add_argument("--diff", action="store_true", help="show every changed line")
    commands_of = whole.add_subparsers(dest="command", required=True)
    command = commands_of.add_parser("status", help="is the project behind, and by what?")
    command.add_argument("--exit-code", action="store_true", help="exit with 3 if it is behind")
    command = commands_of.add_parser("update", parents=[asking], help="take in the template's latest release")
    command.add_argument("--to", metavar="REF", help="a tag, branch or commit instead")
    command.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="with another answer")
    command = commands_of.add_parser("add-queue", parents=[asking], help="add a queue, its handler and its test")
    command.add_argument("queue", help="for example 'orders', or 'orders@memory!nodlq: order.created, order.paid'")
    command = commands_of.add_parser("add-type", parents=[asking], help="add a message type to a queue")
    command.add_argument("queue")
    command.add_argument("type")
    command = commands_of.add_parser("remove-queue", parents=[asking], help="remove a queue, its handler and its test")
    command.add_argument("queue")
    command.add_argument("--delete-edited", action="store_true", help="with --yes: also what you wrote (git keeps it)")
    command = commands_of.add_parser("set", parents=[asking], help="change an answer")
    command.add_argument("answers", metavar="NAME=VALUE", nargs="+")
    commands_of.add_parser("undo", help="take back what is not committed")
    command = commands_of.add_parser("link", help="link a project that was not made by cruft to its template")
    command.add_argument("url")
    command.add_argument("--at", metavar="REF", help="the tag or commit it was made from; the release it names itself")
    return whole


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a console that has no emoji
    given = parser().parse_args(arguments)
    try:
        return _run(given)
    except TemplateError as error:
        print(f"Error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
    return 1


def _run(given: argparse.Namespace) -> int:
    project = find_project(Path(__file__).resolve().parents[1])
    options = Options(yes=getattr(given, "yes", False), diff=getattr(given, "diff", False))
    match given.command:
        case "status":
            return commands.status(project, exit_code=given.exit_code)
        case "update":
            return commands.update(project, options, given.to, pairs(given.set))
        case "add-queue":
            return commands.add_queue(project, options, given.queue)
        case "add-type":
            return commands.add_type(project, options, given.queue, given.type)
        case "remove-queue":
            return commands.remove_queue(project, options, given.queue, delete_edited=given.delete_edited)
        case "set":
            return commands.change_answers(project, options, pairs(given.answers))
        case "link":
            return commands.link(project, given.url, given.at)
        case _:
            return commands.take_back(project)


def pairs(texts: list[str]) -> dict[str, str]:
    """`NAME=VALUE` as a dict. Raises TemplateError."""
    for text in texts:
        if "=" not in text:
            raise TemplateError(f"{text!r} must be NAME=VALUE, such as max_attempts=7")
    return {name.strip(): value for name, _, value in (text.partition("=") for text in texts)}


if __name__ == "__main__":
    sys.exit(main())
