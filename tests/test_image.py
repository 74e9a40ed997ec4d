"""The image, as far as it can be known without Docker: whoever runs the service there can read it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import TOOLS, Bake, Project


@pytest.fixture
def private(template: Path, tmp_path: Path) -> Project:
    """A project of somebody with umask 077, who cloned the template with it, too."""
    clone = shutil.copytree(template, tmp_path / "queue-template")
    for path in clone.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    command = [str(TOOLS / "cookiecutter"), "--no-input", "--default-config", "--output-dir", str(tmp_path), str(clone)]
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(command, check=True, capture_output=True, umask=0o077, env=environment)
    return Project(tmp_path / "queue-service")


def image(project: Project, folder: Path) -> Path:
    """The folder of the service in the image: what the Dockerfile's last stage copies, and the modes that it sets."""
    folder.mkdir(mode=0o755)
    stage = project.read("Dockerfile").rpartition("\nFROM ")[2]
    for line in stage.partition("\nUSER ")[0].splitlines():
        instruction, _, rest = line.partition(" ")
        if instruction == "COPY" and "--from" not in rest:
            *sources, target = rest.split()
            for source in sources:
                copying = ["cp", "-pR", str(project.path / source), str(folder / target)]
                subprocess.run(copying, check=True)
        elif instruction == "RUN":
            for command in rest.split(" && "):
                if command.startswith("chmod "):
                    subprocess.run(command.split(), cwd=folder, check=True)
    return folder


def test_a_project_that_only_its_owner_can_read_makes_an_image_whose_user_can(
    private: Project, bake: Bake, tmp_path: Path
) -> None:
    public = bake()
    modes = {path: path.stat().st_mode for path in private.path.rglob("*")}
    assert not [path for path, mode in modes.items() if mode & 0o077]
    assert {name: private.read(name) for name in private.files()} == {
        name: public.read(name) for name in public.files()
    }
    copied = image(private, tmp_path / "service")
    assert (copied / "app/queue/handlers/user_channel.py").is_file()
    assert (copied / "queues.yaml").is_file()
    for path in copied.rglob("*"):
        needed = stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)
        assert path.stat().st_mode & needed == needed, path
