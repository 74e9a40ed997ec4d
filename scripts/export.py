"""`export.py FOLDER`: the template as git sees it, so that no cache of a working tree gets into a baked project."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def export(destination: Path) -> Path:
    """Copy every file that is tracked, or untracked and not ignored, and is there. Returns `destination`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    shutil.rmtree(destination, ignore_errors=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        source = ROOT / name
        if source.is_file():
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    return destination


if __name__ == "__main__":
    export(Path(sys.argv[1]).resolve())
