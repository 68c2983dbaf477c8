#!/usr/bin/env bash
# Lint, format, types and tests in the active environment; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

ruff check .
ruff format --check .
pyright
python -m pytest "$@"
