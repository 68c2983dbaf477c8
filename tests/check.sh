#!/usr/bin/env bash
# Lint, format, types and tests in the active environment; arguments go to pytest.
# One test process a processor, each with one thread: threads that wait for each other cost more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ruff check .
ruff format --check .
pyright
OMP_NUM_THREADS=1 python -m pytest -n auto --dist worksteal "$@"
