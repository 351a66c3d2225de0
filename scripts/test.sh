#!/usr/bin/env bash
# Sets up what the tests need, then runs them. Further arguments go to pytest.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$here/setup.sh" --dev
cd "$here/.."
exec .venv/bin/python -m pytest "$@"
