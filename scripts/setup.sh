#!/usr/bin/env bash
# Sets up .venv with the package and all it needs; a second run with nothing changed takes no time.
#   scripts/setup.sh [--dev] [--torch cpu|cu126|cu128]
# --dev adds what the tests and checks need (real Blender as a Python module, pytest, ruff, pyright, glTF validator).
# PYTHON=/path/to/python3.11 chooses the interpreter; by default the first Python 3.11 or 3.12 found.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '%s\n' "headstitch set-up: $*"; }
stop() { say "$*" >&2; exit 1; }

dev=no build=cpu
while [ $# -gt 0 ]; do
  case "$1" in
    --dev) dev=yes ;;
    --torch) build="${2:?--torch needs cpu or the name of a CUDA build}"; shift ;;
    *) stop "unknown option $1; options are --dev and --torch BUILD." ;;
  esac
  shift
done
index=$(awk -v build="$build" '$1 == build { print $2 }' backend/data/torch-index.txt)
[ -n "$index" ] || stop "no PyTorch build is called $build; see backend/data/torch-index.txt."

# --- system packages: install them when we may, else say exactly how and stop -------------------------------------

suits() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1; }
makes_environments() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
  for candidate in "${PYTHON:-}" python3.11 python3.12 python3; do
    if [ -n "$candidate" ] && suits "$candidate"; then command -v "$candidate"; return; fi
  done
}

missing_packages() { # of the shared libraries, by their sonames
  [ "$(uname -s)" = Linux ] || return 0
  local ldconfig have name package who
  ldconfig=$(command -v ldconfig || echo /sbin/ldconfig)
  have=$("$ldconfig" -p 2>/dev/null) || return 0 # no cache to ask (musl): imports will tell
  while read -r name package who; do
    case "$name" in '' | '#'*) continue ;; esac
    [ "$who" = blender ] && [ "$dev" = no ] && continue
    grep -qF $'\t'"$name " <<<"$have" || echo "$package"
  done <backend/data/debian-libraries.txt
}

python=$(find_python)
packages=$(missing_packages)
if [ -z "$python" ]; then
  packages="$packages python3.11 python3.11-venv"
elif [ ! -x .venv/bin/python ] && ! makes_environments "$python"; then
  packages="$packages python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
fi
packages=$(echo $packages) # one line
if [ -n "$packages" ]; then
  say "this machine lacks: $packages"
  as_root=
  [ "$(id -u)" = 0 ] || as_root="sudo -n"
  if ! command -v apt-get >/dev/null; then
    stop "install what these Debian packages hold with your system's own tool, then run this again."
  elif [ -n "$as_root" ] && ! sudo -n true 2>/dev/null; then
    stop "please run:  sudo apt-get update && sudo apt-get install -y $packages   and then this again."
  fi
  $as_root apt-get -qq update || say "the package lists could not be updated; trying with those at hand."
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $packages >/dev/null ||
    stop "apt-get could not install: $packages"
  python=$(find_python)
fi
[ -n "$python" ] || stop "Python 3.11 or 3.12 is needed; install one, or name it: PYTHON=/path/to/python3.11 scripts/setup.sh"

validator=tests/backend/results/gltf # its package.json names the Khronos glTF validator

# --- the environment -------------------------------------------------------------------------------------------------

if [ -e .venv ] && ! { suits .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1; }; then
  say "the environment .venv is broken or of another Python; making it anew."
  rm -rf .venv
fi
[ -d .venv ] || { say "making .venv with $("$python" --version)"; "$python" -m venv .venv; }
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }

get_validator() {
  [ "$dev" = yes ] && [ ! -d "$validator/node_modules/gltf-validator" ] || return 0
  if ! command -v npm >/dev/null; then
    say "npm is not here; tests that need the glTF validator skip themselves (Debian: apt-get install nodejs npm)."
  elif ! npm --prefix "$validator" install --silent --no-audit --no-fund --no-package-lock; then
    say "npm could not install the glTF validator; tests that need it skip themselves."
  fi
}

stamp=.venv/headstitch-setup
wanted="$(cat pyproject.toml "$validator/package.json" | sha256sum | cut -d' ' -f1) $(pwd -P) $build"
# An environment set up with --dev serves a plain run as well.
if [ -f "$stamp" ] && { [ "$(cat "$stamp")" = "$wanted dev=yes" ] || [ "$(cat "$stamp")" = "$wanted dev=$dev" ]; }; then
  get_validator
  exit 0
fi
if grep -qs 'dev=yes' "$stamp"; then dev=yes; fi # what was there stays there
rm -f "$stamp"
quiet=--quiet
if [ -t 1 ]; then quiet=; fi # a person sees pip's bars

torch=$(sed -n 's/^ *"\(torch==[0-9.]*\)",.*/\1/p' pyproject.toml)
[ -n "$torch" ] || stop "pyproject.toml pins no torch."

has_torch() { # the pinned version, in the wanted build
  .venv/bin/python - "${torch#torch==}" "$build" <<'PY' 2>/dev/null
import sys
import torch
version, _, local = torch.__version__.partition("+")
build = sys.argv[2]
sys.exit(version != sys.argv[1] or (build != "cpu" and local != build))
PY
}

plain_pip_gives_cpu_build() { # what pip, as it is set up on this machine, would install; downloads nothing big
  [ "$(uname -s)" = Darwin ] && return 0
  pip install --quiet --dry-run --no-deps --report - "$torch" 2>/dev/null |
    .venv/bin/python -c 'import json, sys; sys.exit(not json.load(sys.stdin)["install"][0]["metadata"]["version"].endswith("+cpu"))' 2>/dev/null
}

pip install --quiet --upgrade pip || say "pip itself could not be upgraded; going on with the one at hand."
if ! has_torch; then
  say "installing $torch ($build build)"
  if [ "$build" = cpu ] && plain_pip_gives_cpu_build; then
    pip install $quiet "$torch"
  elif pip install $quiet --no-deps --retries 1 --timeout 30 --index-url "$index" "$torch"; then
    : # what torch itself needs comes with the package below, from pip's own index
  elif [ "$build" = cpu ]; then
    say "PyTorch's own index cannot be reached; taking pip's default build (on Linux it brings about 3 GB of CUDA)."
    pip install $quiet "$torch"
  else
    stop "PyTorch's own index cannot be reached, so there is no $build build; check the network, or leave --torch out."
  fi
fi

say "installing headstitch and what it needs"
what=. && [ "$dev" = no ] || what='.[dev]'
PYTHONWARNINGS=ignore pip install $quiet --editable "$what" # setuptools warns of every editable install

get_validator

.venv/bin/python - <<'PY'
import sys
from headstitch import HeadstitchError
from headstitch.backend.system import check_libraries
try:
    check_libraries()
except HeadstitchError as error:
    sys.exit(f"headstitch set-up: {error}")
PY
echo "$wanted dev=$dev" >"$stamp"
say "done; the command is .venv/bin/headstitch"
