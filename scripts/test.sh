#!/bin/sh
# All tests: those of the service in place, then those of the template. `make test` sets RABBITMQ_URL around it.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
(cd '{{cookiecutter.project_slug}}' && "$root/.venv/bin/pytest" -p no:cacheprovider --ignore tests/project "$@")
"$root/.venv/bin/pytest" -p no:cacheprovider tests "$@"
