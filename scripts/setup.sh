#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sourced by demo.sh and test.sh: installs what is missing, configures and builds the `cpu` preset.
# Everything lands in the checkout (.venv, .cache, build/) except Debian packages. Safe to run again:
# a second run takes seconds.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }
skip() { printf '    skipped: %s\n' "$*"; }

install_packages() {
  local packages=(g++ cmake ninja-build pkg-config git python3 python3-venv python3-dev
    nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcli11-dev libgtest-dev libgmock-dev libbenchmark-dev)
  local missing=() package
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  say "Installing Debian packages: ${missing[*]}"
  local run=()
  ((EUID == 0)) || run=(sudo)
  "${run[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${run[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What .venv holds; test.sh asks for more before it sources this file.
requirements=${requirements:-scripts/requirements.txt}

make_venv() {
  local stamp=.venv/.$(basename "$requirements")
  [[ -x .venv/bin/python ]] || { say "Creating .venv"; python3 -m venv .venv; }
  if ! cmp -s <(cat scripts/requirements*.txt) "$stamp"; then
    say "Installing Python packages into .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check -r "$requirements"
    cat scripts/requirements*.txt >"$stamp"
  fi
  # The package runs from the checkout: a path file and a launcher instead of a second build.
  local site
  site=$(.venv/bin/python -c 'import site; print(site.getsitepackages()[0])')
  echo "$root/python" >"$site/dovetail.pth"
  printf '#!%s\nfrom dovetail.cli import main\nmain()\n' "$root/.venv/bin/python" >.venv/bin/dovetail
  chmod +x .venv/bin/dovetail
}

build() {
  local options=(-DPython_EXECUTABLE="$root/.venv/bin/python"
    -DDOVETAIL_WARNINGS_AS_ERRORS="${DOVETAIL_WARNINGS_AS_ERRORS:-OFF}")
  command -v ccache >/dev/null && options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
  if [[ -z "${ONNXRUNTIME_INCLUDE_DIR:-}" ]]; then
    ONNXRUNTIME_INCLUDE_DIR=$(scripts/onnxruntime_header.sh)
  fi
  options+=(-DONNXRUNTIME_INCLUDE_DIR="$ONNXRUNTIME_INCLUDE_DIR")
  say "Configuring (preset cpu)"
  cmake --preset cpu "${options[@]}" >build.log 2>&1 || { cat build.log; exit 1; }
  say "Building (preset cpu, log in build.log)"
  cmake --build --preset cpu "$@" 2>&1 | tee -a build.log |
    awk -v tty="$([[ -t 1 ]] && echo 1 || echo 0)" '/^\[[0-9]+\/[0-9]+\]/ { if (tty) { printf "\r    %s ", $1; fflush() } else if (++n % 20 == 0) print "    " $1; next } { print }'
  printf '\n'
}

install_packages
make_venv
