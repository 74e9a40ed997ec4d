#!/bin/sh
# All tests: those of the core in place, then those of the template; a few files at a time, since they mostly wait.
# `make test` sets the URLs of brokers around it.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/python -m scripts.steady -n 3 --dist loadfile core_tests "$@"
.venv/bin/python -m scripts.steady -n 2 --dist loadfile tests "$@"
