# The template's: an update changes it. Which files are yours: README.md.
# /// script
# requires-python = ">=3.11"
# ///
"""`python template.py COMMAND` keeps this project up with its template; `python template.py --help` lists the commands.

The template owns this file. It has uv run `queue-template`, the tool in the template's repository, at the commit that
`.cruft.json` or `.copier-answers.yml` names. It holds no other logic, so that it need not change.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

CRUFT, COPIER = ".cruft.json", ".copier-answers.yml"
HOSTS = {"gh": "https://github.com/", "gl": "https://gitlab.com/", "bb": "https://bitbucket.org/"}
HOW = f"{'uv run' if shutil.which('uv') else 'python' if os.name == 'nt' else 'python3'} template.py"
SCP = re.compile(r"((?:[^/\\:@]+@)?[^/\\:@]{2,}):(?!//)/?(.+)")  # git@host:owner/name; one letter is a Windows drive


def address(text: str, base: Path) -> tuple[str, dict[str, str]]:
    """A template's address as a URL that git and uv both read, and the environment that lets git in there.

    A user and a token go into the environment, because everybody on a machine can read the arguments of its programs.
    """
    text = text.removeprefix("git+")  # which copier wants before some
    short, _, name = text.partition(":")
    if short in HOSTS:
        return f"{HOSTS[short]}{name.removesuffix('/').removesuffix('.git')}.git", {}
    if is_local(text):
        return (base / Path(text).expanduser()).resolve().as_uri(), {}
    if scp := SCP.fullmatch(text):
        return f"ssh://{scp[1]}/{scp[2]}", {}
    user, at, host = urlsplit(text).netloc.rpartition("@")
    if not at or not text.startswith("http"):
        return text, {}
    url = urlsplit(text)._replace(netloc=host).geturl()
    setting = f"http.{url}.extraHeader"
    if setting in os.environ.values():
        return url, {}  # whoever started this program has seen to it
    number = int(os.environ.get("GIT_CONFIG_COUNT", "0"))
    secret = base64.b64encode(unquote(user if ":" in user else f"{user}:").encode()).decode()
    names = ("GIT_CONFIG_COUNT", f"GIT_CONFIG_KEY_{number}", f"GIT_CONFIG_VALUE_{number}")
    return url, dict(zip(names, (str(number + 1), setting, f"Authorization: Basic {secret}"), strict=True))


def is_local(text: str) -> bool:
    """Whether an address is that of a folder."""
    return "://" not in text and not SCP.fullmatch(text)


def link_file(base: Path) -> Path:
    """What links the project to its template: the file of cruft or that of copier. Without either, it is cruft's."""
    return next((base / name for name in (CRUFT, COPIER) if (base / name).is_file()), base / CRUFT)


def read_link(file: Path) -> dict[str, Any]:
    """What this file says, in cruft's words. Raises ValueError, KeyError or TypeError if it can't be read."""
    text = file.read_text(encoding="utf-8")
    if file.name == CRUFT:
        state: Any = json.loads(text)
        if not isinstance(state, dict):
            raise TypeError("it must be an object")
        return _with_texts(state)
    lines = (line.partition(": ") for line in text.splitlines() if line.strip() and not line.startswith("#"))
    said = {name: json.loads(value) for name, _, value in lines}
    answers = {"_polled_kit" if name == "polled_kit" else name: said[name] for name in said if name[0] != "_"}
    context = {"cookiecutter": answers}
    state = {"template": said["_src_path"], "commit": said["_commit_hash"], "checkout": said["_commit"]}
    return _with_texts(state | {"context": context})


def _with_texts(state: dict[str, Any]) -> dict[str, Any]:
    for name in ("template", "commit"):
        if not isinstance(state[name], str):
            raise TypeError(f"{name} must be text")
    return state


def run(text: str, base: Path, commit: str, arguments: list[str]) -> int:
    """Run queue-template at this commit of the template, or at the newest if it is empty. Returns its exit code."""
    url, environment = address(text, base)
    environment = {"QUEUE_TEMPLATE_COMMAND": HOW, **os.environ, **environment}
    tools = os.pathsep.join(str(base / ".tools" / name) for name in ("bin", "Scripts"))
    uv = os.environ.get("UV") or shutil.which("uv") or shutil.which("uv", path=tools)
    if uv is None:
        sys.exit("Error: uv is needed: https://docs.astral.sh/uv/, or: python -m pip install uv")
    tool = ("--from", f"git+{url}@{commit}" if commit else f"git+{url}", "queue-template")
    cached = ("--offline", "-qq", *tool)  # at a full commit uv need ask nobody, if the tool was here before
    hidden: dict[str, Any] = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}

    def uvx(*words: str, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([uv, "tool", "run", *words], cwd=base, env=environment, check=False, **how)

    signal.signal(signal.SIGINT, lambda *_: None)  # the tool gets it, too: it takes back what it began
    code = uvx(*cached, *arguments).returncode
    if code not in (1, 2):
        return code
    asked = uvx(*cached, "--version", **hidden)
    if asked.returncode == 0:
        return code  # the tool's own: it ran
    if "--quiet" in asked.stderr:
        sys.exit("Error: This uv is too old. Try: uv self update")
    name = f"queue-template at {commit[:10] or 'its newest commit'}"
    print(f"Fetching {name} ...", file=sys.stderr)
    fetched = uvx("-q", *tool, "--version", **hidden)
    if fetched.returncode != 0:
        said = [line.strip() for line in fetched.stderr.splitlines() if line.strip()]
        fatal = [line.rstrip(".") for line in said if line.startswith("fatal: ")]
        fatal.sort(key=lambda line: "Could not read from" in line)  # the other program may know why, if it could say it
        why = [*fatal, *said[-1:], "uv says nothing"][0]
        moved = "" if arguments[:1] == ["link"] else f". If it has moved: {HOW} link URL"
        sys.exit(f"Error: uv has no {name} in its cache, and can't fetch it from {url}: {why}{moved}")
    return uvx("-qq", *tool, *arguments).returncode


def main() -> int:
    """Run the tool at the commit that the project has; `link`, which a project without one needs, at the newest."""
    base, arguments = Path(__file__).resolve().parent, sys.argv[1:]
    file = link_file(base)
    text, commit, folder = "", "", None
    try:
        state = read_link(file)
        text, commit, folder = state["template"], state["commit"], state.get("directory")
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError) as error:
        sys.exit(f"Error: {file.name} can't be read ({error!r}); git has it: git checkout HEAD -- {file.name}")
    given = [place for place, (before, one) in enumerate(pairwise(arguments), 1) if one[0] != "-" and before != "--at"]
    if arguments[:1] == ["link"] and given:
        text = arguments[given[0]]
        if text.endswith(".zip"):
            sys.exit("Error: A zip has no later releases. Link the project to the repository that the zip was made of")
        if is_local(text):  # from here on, and not from the project's folder, where the tool runs
            text = arguments[given[0]] = str(Path(text).expanduser().resolve())
    elif not text:
        sys.exit(f"Error: There is no .cruft.json. Link the project to its template, once: {HOW} link URL")
    return run(text, base, commit + (f"#subdirectory={folder}" if folder else ""), arguments)


if __name__ == "__main__":
    sys.exit(main())
