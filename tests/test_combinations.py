"""Every pair of options, each with the exact set of files: nothing missing, nothing left over."""

from __future__ import annotations

import ast
import itertools
import re
import tomllib
from pathlib import Path

import pytest
import yaml

from queue_template_extension import parse_queues
from tests.conftest import ANSWERS_FILE, ROOT, Bake

SERVICE = "{{cookiecutter.project_slug}}"
PROVIDERS = ("rabbitmq", "redis", "nats", "memory")
WRITTEN = [name for name in PROVIDERS if (ROOT / SERVICE / "app/queue/providers" / name).is_dir()]
OPTIONS = {
    "provider": WRITTEN,
    "queues": [
        "user_channel: send_audio",
        "a; b: x; c!dlq: y, z; d!nodlq",
        "orders@memory: order.created, order-paid; users@rabbitmq!nodlq: sign_up",
        "only_memory@memory: x",
        "; ".join(f"on_{name}@{name}: x" for name in WRITTEN),
    ],
    "dead_letter_queues": ["yes", "no"],
    "max_attempts": ["1", "5", "1000"],
    "dlq_retry_interval": ["0", "300"],
}


def pairwise() -> list[dict[str, str]]:
    """A few combinations in which every two values of two options meet at least once. The same at every run."""
    names = list(OPTIONS)
    missing = {
        ((first, one), (second, other))
        for first, second in itertools.combinations(names, 2)
        for one in OPTIONS[first]
        for other in OPTIONS[second]
    }
    everything = [dict(zip(names, values, strict=True)) for values in itertools.product(*OPTIONS.values())]
    chosen: list[dict[str, str]] = []
    while missing:
        best = max(everything, key=lambda answers: len(pairs(answers) & missing))
        chosen.append(best)
        missing -= pairs(best)
    return chosen


def pairs(answers: dict[str, str]) -> set[tuple[tuple[str, str], tuple[str, str]]]:
    return set(itertools.combinations(answers.items(), 2))


CLIENTS = {"rabbitmq": "aio-pika", "redis": "redis", "nats": "nats-py"}
COMBINATIONS = pairwise()


@pytest.mark.parametrize("answers", COMBINATIONS, ids=[" ".join(answers.values()) for answers in COMBINATIONS])
def test_a_combination_makes_its_files_and_its_queues_by_cookiecutter_and_by_copier(
    template: Path, bake: Bake, copy: Bake, answers: dict[str, str]
) -> None:
    project = bake(**answers)
    copied = copy(**answers).content()
    assert copied.pop(ANSWERS_FILE)
    assert copied == project.content()
    dlq = answers["dead_letter_queues"] == "yes"
    queues = parse_queues(answers["queues"], provider=answers["provider"], dlq=dlq)
    assert project.files() == expected_files(template, {queue.provider for queue in queues}, [q.name for q in queues])
    project.check_every_file()
    written = yaml.safe_load(project.read("queues.yaml"))["queues"]
    assert [(queue["name"], queue["type"], queue["enable_dlq"]) for queue in written] == [
        (queue.name, queue.provider, queue.dlq) for queue in queues
    ]
    assert {queue["retry"]["max_attempts"] for queue in written} == {int(answers["max_attempts"])}
    intervals = {queue["dlq"]["retry_interval"] for queue in written if queue["enable_dlq"]}
    assert intervals <= {int(answers["dlq_retry_interval"])}
    brokers = {queue.provider for queue in queues} - {"memory"}
    compose = yaml.safe_load(project.read("compose.yaml"))
    assert set(compose["services"]) == {"service", *brokers, *(["worker"] if brokers else [])}
    assert set(compose["services"]["service"].get("depends_on", {})) == set(compose.get("volumes", {})) == brokers
    dependencies = {
        re.split(r"[>=<]", line)[0] for line in tomllib.loads(project.read("pyproject.toml"))["project"]["dependencies"]
    }
    assert {client for client in CLIENTS.values() if client in dependencies} == {CLIENTS[name] for name in brokers}
    assert set(re.findall(r"^(\w+)_URL=", project.read(".env.example"), re.MULTILINE)) == {
        name.upper() for name in brokers
    }
    assert set(re.findall(r"\$\{(\w+)_URL:-localhost\}", project.read("queues.yaml"))) == {
        name.upper() for name in brokers
    }
    job = yaml.safe_load(project.read(".github/workflows/ci.yml"))["jobs"]["test"]
    installs = "\n".join(step.get("run", "") for step in job["steps"])
    started = re.search(r"docker compose up --detach --wait((?: \w+)*)", installs)
    assert set(started[1].split() if started else ()) == brokers
    project.run("ruff", "check", "--no-cache", "--quiet", ".")
    project.run("ruff", "format", "--no-cache", "--check", "--quiet", ".")
    project.run("python", "-c", "from app.queue.config import load_queues; load_queues()")


def expected_files(template: Path, providers: set[str], queues: list[str]) -> set[str]:
    folder = template / SERVICE
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    files.remove("{{_copier_conf.answers_file}}")
    for any_of, patterns in only_with(template).items():
        if not providers & set(any_of.split(", ")):
            files -= {
                name for name in files for pattern in patterns if Path(name).match(pattern) or within(name, pattern)
            }
    for queue in queues:
        files |= {f"app/queue/handlers/{queue}.py", f"tests/handlers/test_{queue}.py"}
    return files


def only_with(template: Path) -> dict[str, list[str]]:
    source = (template / "hooks/post_gen_project.py").read_text(encoding="utf-8")
    found = re.search(r"^ONLY_WITH = (\{.*?^\})", source, re.DOTALL | re.MULTILINE)
    assert found is not None
    manifest: dict[str, list[str]] = ast.literal_eval(found[1])
    return manifest


def within(name: str, folder: str) -> bool:
    return name.startswith(folder + "/")
