#!/bin/sh
# All tests: those of the service in place, then those of the template; a few files at a time, since they mostly wait.
# `make test` sets the URLs of brokers around it.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
(cd '{{cookiecutter.project_slug}}' && "$root/.venv/bin/pytest" -p no:cacheprovider -n 3 --dist loadfile --ignore tests/project "$@")
"$root/.venv/bin/pytest" -p no:cacheprovider -n 2 --dist loadfile tests "$@"
