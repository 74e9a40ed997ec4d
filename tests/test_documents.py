"""The generated documents: their form, and what in them can be compared with the code."""

from __future__ import annotations

import configparser
import re

import pytest
import yaml

from tests.conftest import ROOT, Bake, Project

EVERY = "a@rabbitmq: x; b@redis: y; c@nats: z; d@memory: w"
ANSWERS = [{}, {"queues": EVERY}, {"provider": "memory"}, {"provider": "redis"}, {"provider": "nats"}]
SERVICE = ROOT / "{{cookiecutter.project_slug}}"


@pytest.fixture(scope="module", params=ANSWERS, ids=["default", "every provider", "memory", "redis", "nats"])
def project(request: pytest.FixtureRequest, bake: Bake) -> Project:
    return bake(**request.param)


def documents(project: Project) -> dict[str, str]:
    return {name: project.read(name) for name in sorted(project.files()) if name.endswith(".md")}


def test_each_has_its_title_in_its_third_line_and_a_blank_line_around_every_heading(project: Project) -> None:
    for name, text in documents(project).items():
        assert re.match(r"<!-- [^\n]+ -->\n\n# [^\n]+\n\n", text), name
        outside_code = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        assert not re.findall(r"(?<!\n)\n#+ [^\n]+", outside_code), name
        assert not re.findall(r"^#+ [^\n]+\n(?!\n)", outside_code, re.MULTILINE), name


def test_what_they_link_to_is_there(project: Project) -> None:
    files = documents(project)
    anchors = {
        name: {
            re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ ([^\n]+)$", text, re.MULTILINE)
        }
        for name, text in files.items()
    }
    for name, text in files.items():
        folder = name.rpartition("/")[0]
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, anchor = target.partition("#")
            file = f"{folder}/{path}".lstrip("/") if path else name
            assert file in project.files(), f"{name}: {target}"
            assert not anchor or anchor in anchors[file], f"{name}: {target}"


def test_the_tests_that_promises_name_are_there(project: Project) -> None:
    found = 0
    for row in project.read("docs/promises.md").splitlines():
        folder = ""
        for part in re.findall(r"`((?:core_tests/\w+/)?test_\w+\.py)`", row):
            folder = part.rpartition("/")[0] or folder
            assert (ROOT / folder / part.rpartition("/")[2]).is_file(), part
            found += 1
    assert found > 20


def test_every_promise_names_a_test(project: Project) -> None:
    rows = project.read("docs/promises.md").partition("## Promised")[2].partition("\n## ")[0].splitlines()
    shown = [row.split("|")[2] for row in rows if row.startswith("| ")][2:]
    assert len(shown) > 10
    assert all(re.search(r"`(core_tests/|python template)", cell) for cell in shown)


def test_monitoring_names_every_metric_with_its_labels(default_project: Project) -> None:
    source = default_project.read("app/queue/instrumentation/prometheus.py")
    families = {
        (name, kind.lower(), ", ".join(f"`{label}`" for label in re.findall(r'"(\w+)"', labels)))
        for kind, name, labels in re.findall(r'(Counter|Gauge)\(\s*"(\w+)", "[^"]*", \[([^\]]*)\]', source)
    }
    text = default_project.read("docs/monitoring.md")
    assert len(families) == len(re.findall(r" = (?:Counter|Gauge)\(", source))
    assert set(re.findall(r"^\| `(queue_\w+)` \| (\w+) \| ([^|]+) \|", text, re.MULTILINE)) == families


@pytest.mark.parametrize(
    ("source", "values"),
    [
        ("run/health.py", "ConsumerStatus"),
        ("run/health.py", "PublisherStatus"),
        ("circuit_breaker.py", "State"),
        ("run/service.py", "def readiness"),
    ],
)
def test_monitoring_names_every_value_of_health(default_project: Project, source: str, values: str) -> None:
    code = default_project.read(f"app/queue/{source}")
    named = re.search(rf"{re.escape(values)}\b.*?Literal\[([^\]]*)\]", code)
    assert named is not None
    text = default_project.read("docs/monitoring.md")
    assert all(f"`{value}`" in text for value in re.findall(r'"([\w-]+)"', named[1]))


def test_the_limits_of_values_are_those_of_the_models(bake: Bake) -> None:
    text = bake(queues=EVERY).read("docs/configuration.md")
    rows = re.findall(r"^\| (`[^|]+`) \| (more than 0|[\d.,]+) \| ([\d,]*)[^|]*\|$", text, re.MULTILINE)
    documented = {
        key.rpartition(".")[2]: (low.replace(",", ""), high.replace(",", ""))
        for keys, low, high in rows
        for key in re.findall(r"`([^`]+)`", keys)
    }
    models = [SERVICE / "app/queue/settings" / name for name in ("queues.py", "broker.py")]
    models += sorted((SERVICE / "app/queue/providers").glob("*/config.py"))
    limits = r"^    (\w+): (?:int|float)(?: \| None)? = Field\([^,]+, (ge|gt)=([\d._]+)(?:, le=([^)]+))?\)"
    seen = {}
    for model in models:
        for key, kind, low, high in re.findall(limits, model.read_text(encoding="utf-8"), re.MULTILINE):
            most = str(product(high)) if high else ""
            seen[key] = ("more than 0" if kind == "gt" else low, most)
    assert documented == seen


def test_the_rights_for_rabbitmq_are_those_that_a_test_shows_to_suffice(default_project: Project) -> None:
    tested = (ROOT / "core_tests/rabbitmq/test_permissions.py").read_text(encoding="utf-8")
    names = re.search(r'^NAMES = "(.*)"$', tested, re.MULTILINE)
    assert names is not None
    command = rf"rabbitmqctl set_permissions service '{names[1]}' '^amq\.default$|{names[1]}' '{names[1]}'"
    assert f"$ {command}\n" in default_project.read("docs/rabbitmq.md")


def product(text: str) -> int:
    """`30 * 86_400` as a number."""
    result = 1
    for factor in text.split("*"):
        result *= int(factor.strip().replace("_", ""))
    return result


def test_compose_waits_longer_than_a_drain_can_take_and_the_documents_say_how_long(default_project: Project) -> None:
    def number(file: str, pattern: str) -> float:
        found = re.search(pattern, default_project.read(file))
        assert found is not None, pattern
        return float(found[1])

    close = number("app/queue/run/supervisor.py", r"CLOSE_TIMEOUT = ([\d.]+)")
    http = number("app/__main__.py", r"timeout_graceful_shutdown=(\d+)")
    consumers = number("app/queue/run/service.py", r"drain\.timeout \+ (\d+) \* CLOSE_TIMEOUT") * close
    threads = number("app/queue/run/service.py", r"time\.monotonic\(\) \+ ([\d.]+)\n    for thread")
    delay = number("app/queue/settings/queues.py", r"    delay: float = Field\(([\d.]+), ge=0, le=300\)")
    timeout = number("app/queue/settings/queues.py", r"    timeout: float = Field\(([\d.]+), ge=0")
    more = http + consumers + close + threads
    text = " ".join(default_project.read("docs/configuration.md").split())
    assert f"`drain.delay` + `drain.timeout` + {more:.0f} s, {delay + timeout + more:.0f} s with the defaults" in text
    grace = yaml.safe_load(default_project.read("compose.yaml"))["services"]["service"]["stop_grace_period"]
    assert int(grace.removesuffix("s")) > delay + timeout + more
    assert f"stop_grace_period: {grace}" in text


def test_a_worker_of_compose_is_the_service_without_its_port(default_project: Project) -> None:
    services = yaml.safe_load(default_project.read("compose.yaml"))["services"]
    service, worker = services["service"], services["worker"]
    assert service.pop("ports")
    assert (worker.pop("ports"), worker.pop("profiles")) == ([], ["worker"])
    assert worker["environment"].pop("QUEUE_ROLE") == "worker"
    assert worker == service


def test_the_unit_of_systemd_starts_what_the_image_starts_and_waits_as_compose_does(default_project: Project) -> None:
    page = default_project.read("docs/configuration.md")
    found = re.search(r"```ini\n(.*?)```", page, re.DOTALL)
    assert found is not None
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign, assignment] # the names of systemd have capitals
    unit.read_string(found[1])
    service = unit["Service"]
    assert unit.sections() == ["Unit", "Service", "Install"]
    assert service["ExecStart"].endswith("/bin/python -m app")
    # Environment= would be overruled by the file of the environment.
    assert service["ExecStart"].startswith("/usr/bin/env QUEUE_ROLE=worker PORT=81%i /")
    grace = yaml.safe_load(default_project.read("compose.yaml"))["services"]["service"]["stop_grace_period"]
    assert f"{service['TimeoutStopSec']}s" == grace
