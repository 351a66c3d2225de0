#!/usr/bin/env bash
# From a fresh checkout to a first head: sets up what is missing, then makes the head of the example portrait.
# Further arguments go to `headstitch reconstruct`.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bash "$here/setup.sh"
cd "$here/.."
exec .venv/bin/headstitch reconstruct examples/astronaut.png --out heads/astronaut "$@"
