#!/bin/sh
# All tests: those of the core in place, then those of the template; a few files at a time, since they mostly wait.
# `make test` sets the URLs of brokers around it.
set -eu
cd "$(dirname "$0")/.."
.venv/bin/pytest -p no:cacheprovider -n 3 --dist loadfile core_tests "$@"
.venv/bin/pytest -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder tests "$@"
