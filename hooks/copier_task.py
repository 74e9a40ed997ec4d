"""The task that copier runs after it has rendered: what the post-gen hook writes, for copier has no hooks.

The hook itself runs, in a folder of its own, so that it never meets a user's files. Then what it made is put in place.
It takes one argument: `True`, if copier was told to overwrite what is there (`copier update` always is).
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).resolve().parents[1]
CHANGED = ("app/main.py", "pyproject.toml")
"""Files that copier renders, and the hook changes."""


def run_hook(folder: Path, hook: Path) -> None:
    """Run the hook in this folder, with the answers that are in `.queue-template.json`."""
    sys.path.insert(0, str(ROOT))
    from queue_template_extension import QueueTemplateExtension, plan  # noqa: PLC0415 - of this very version

    answers = json.loads(Path(".queue-template.json").read_text(encoding="utf-8"))["answers"]
    environment = Environment(  # noqa: S701 - it is Python
        undefined=StrictUndefined, keep_trailing_newline=True, extensions=[QueueTemplateExtension]
    )
    environment.filters["template_files"] = lambda _: CHANGED  # the others are not here
    source = environment.from_string((ROOT / "hooks/post_gen_project.py").read_text(encoding="utf-8"))
    hook.write_text(source.render(cookiecutter=answers | {"__plan": plan(answers)}), encoding="utf-8")
    subprocess.run([sys.executable, str(hook)], cwd=folder, stdout=subprocess.DEVNULL, check=True)  # noqa: S603


def put_in_place(folder: Path, *, overwrite: bool) -> None:
    """Copy what was made to where we are. Without `overwrite`, what is there and differs stays, and is named."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder)
        made = file.read_bytes()
        if name.exists() and name.as_posix() not in CHANGED and not overwrite:
            if name.read_bytes() != made:
                print(f"Stays as it is: {name.as_posix()}", file=sys.stderr)
            continue
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_bytes(made)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryDirectory() as other:
        for changed in CHANGED:
            target = Path(made, changed)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(changed, target)
        run_hook(Path(made), Path(other, "hook.py"))
        put_in_place(Path(made), overwrite=sys.argv[1] == "True")
