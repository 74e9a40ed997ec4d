# The two commands that a fresh machine needs (Python >= 3.11, git and make are there): make demo, make test.

PYTHON ?= python3
SERVICE := {{cookiecutter.project_slug}}
UV := "$(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.tools/bin/uv)"
# A project with every provider needs all that the service can need.
QUEUES := a@rabbitmq; b@redis; c@nats
BIN := $(CURDIR)/.venv/bin
QUEUE_TYPE ?= quorum
# BROKER_URL names the broker that is measured; without it, one is found or started, as for the tests.
measure = REQUIRE_BROKERS=1 $(if $(BROKER_URL),RABBITMQ_URL='$(BROKER_URL)') $(PYTHON) -m core_tests.tools.with_broker \
	sh -c 'build/bench/venv/bin/python -m benchmarks $(1) --queue-type $(QUEUE_TYPE) $(BENCH)'
# Nothing may be written into the template's own tree: cookiecutter would copy it into the next project.
export PYTHONDONTWRITEBYTECODE := 1
# `python -m` finds what is in this folder, which this variable would forbid.
export PYTHONSAFEPATH :=

.PHONY: help demo test matrix simulate test-faults bench bench-quick bench-growth bench-instances lint setup clean anew
help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: .tools/.ready ## bake the default answers, and see a message through
	UV=$(UV) .tools/bin/python -m scripts.demo

test: setup lint ## run everything, against real brokers that are found, started or installed
	REQUIRE_BROKERS=1 INSTALL_BROKERS=1 $(BIN)/python -m core_tests.tools.with_broker sh scripts/test.sh

matrix: setup ## print what becomes of every combination of answers in every kind of change (minutes)
	$(BIN)/python -m tests.matrix

SEEDS ?= 0-9999
simulate: setup ## run 10,000 seeds of the simulator, or SEEDS=from-to (ten minutes on two cores)
	$(BIN)/python -m core_tests.simulator --seeds $(SEEDS)

test-faults: .tools/.ready ## bake the default answers, and run the fault suite against that project (five to ten minutes)
	$(PYTHON) -m scripts.export build/template
	rm -rf build/faults
	.tools/bin/cookiecutter --no-input --output-dir build/faults build/template > /dev/null
	$(MAKE) -C build/faults/queue-service setup UV=$(UV)
	REQUIRE_BROKERS=1 UV=$(UV) $(PYTHON) -c 'import sys; from pathlib import Path; from queue_template.checks import faults; \
		raise SystemExit(faults(Path("build/faults/queue-service"), sys.argv[1:]))' $(FAULTS)

lint: setup ## check style, format, types and layers, of the template, of the tests, and of app/ in place
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/mypy --cache-dir build/mypy
	cd '$(SERVICE)' && $(BIN)/mypy --cache-dir '$(CURDIR)/build/mypy-service'
	cd '$(SERVICE)' && $(BIN)/mypy --cache-dir '$(CURDIR)/build/mypy-service' --config-file ../core_tests/mypy.ini
	cd '$(SERVICE)' && $(BIN)/lint-imports --no-cache ../importlinter.toml

setup: .venv/.ready ## make the virtual environment: the template's tools, and what the service needs

# A stamp can't tell that the interpreter went, or that the folder was renamed, which the environment's scripts name.
.venv/.ready: pyproject.toml uv.lock $(wildcard core_tests/requirements*.txt) $(SERVICE)/pyproject.toml $(shell .venv/bin/pytest --version >/dev/null 2>&1 || echo anew) | .tools/.ready
	.venv/bin/pytest --version >/dev/null 2>&1 || rm -rf .venv
	rm -rf build/setup
	$(PYTHON) -m scripts.export build/template
	$(UV) sync --quiet --no-config --python $(PYTHON)
	$(BIN)/cookiecutter --no-input --output-dir build/setup build/template queues='$(QUEUES)' > /dev/null
	$(UV) pip install --quiet --python $(BIN)/python -r core_tests/requirements.txt -r core_tests/requirements-faults.txt \
		-r build/setup/queue-service/pyproject.toml --group build/setup/queue-service/pyproject.toml:dev
	@touch $@

.tools/.ready:
	$(PYTHON) -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv 'cookiecutter>=2.7,<3'
	@touch $@

bench: build/bench/.ready ## measure the service beside its peers, into docs/benchmarks/, and how it recovers (quarter of an hour)
	$(call measure,compare)
	$(MAKE) test-faults FAULTS="-k 'rate_after_kill or bad_before_good'"

bench-quick: build/bench/.ready ## CPU a message, ours beside bare aio-pika: a minute
	$(call measure,quick)

bench-growth: build/bench/.ready ## how its cost grows, into docs/benchmarks/ (quarter of an hour)
	$(call measure,growth)

bench-instances: build/bench/.ready ## two instances whose handlers compute, beside what the cores allow (two minutes)
	$(call measure,instances)

build/bench/.ready: benchmarks/pyproject.toml $(SERVICE)/pyproject.toml | .tools/.ready
	$(PYTHON) -m scripts.export build/template
	rm -rf build/bench/venv build/bench/setup
	.tools/bin/cookiecutter --no-input --output-dir build/bench/setup build/template > /dev/null
	$(UV) venv --quiet --no-config --python $(PYTHON) build/bench/venv
	$(UV) pip install --quiet --compile-bytecode --python build/bench/venv/bin/python -r benchmarks/pyproject.toml -r build/bench/setup/queue-service/pyproject.toml
	@touch $@

clean: ## forget all that was made
	rm -rf .venv .tools build
