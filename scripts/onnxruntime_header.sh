#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts ONNX Runtime's C header (Debian package libonnxruntime-dev) where CMake finds it, and prints the folder.
#
# Order: the header that the system has installed; the package of this release; the package of the next
# release (Debian 12 -> 13, Ubuntu 24.04 -> 26.04) from the same mirror. A package is downloaded and
# unpacked into .cache/onnxruntime, nothing is installed: apt works on a private list and state folder.
# Only headers are used; ONNX Runtime itself is opened at run time.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.cache/onnxruntime
package=libonnxruntime-dev

fail() {
  echo "onnxruntime_header.sh: $1; install $package, or configure with" \
    "-DONNXRUNTIME_INCLUDE_DIR=<folder of onnxruntime_c_api.h> or -DDOVETAIL_ONNXRUNTIME=OFF" >&2
  exit 1
}

for folder in /usr/include/onnxruntime "$target/include"; do
  if [ -f "$folder/onnxruntime_c_api.h" ]; then
    echo "$folder"
    exit 0
  fi
done
command -v apt-get >/dev/null || fail "no installed header, and no apt-get to fetch one"

mkdir -p "$target"
work=$(mktemp -d "$target/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"

# The next release's sources line: mirror and keyring are those of this machine.
write_sources() {
  . /etc/os-release
  case $ID in
    debian) suite=trixie component=main keyring=debian-archive-keyring.gpg ;;
    ubuntu) suite=resolute component=universe keyring=ubuntu-archive-keyring.gpg ;;
    *) fail "$ID has no package $package known to this script" ;;
  esac
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
    sed -n "s/^$VERSION_CODENAME //p" | head -n 1)
  [ -n "$mirror" ] || fail "apt has no source for $VERSION_CODENAME"
  [ -f "/usr/share/keyrings/$keyring" ] || fail "/usr/share/keyrings/$keyring is missing"
  echo "deb [signed-by=/usr/share/keyrings/$keyring] $mirror $suite $component" >sources.list
}

if apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]'; then
  apt-get -q -o APT::Sandbox::User=root download "$package" >&2
else
  write_sources
  mkdir -p lists/partial archives/partial
  : >status
  set -- -q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work" \
    -o APT::Sandbox::User=root
  apt-get "$@" update >&2 || fail "apt-get update of '$(cat sources.list)' failed"
  apt-get "$@" download "$package" >&2 || fail "no $package in '$(cat sources.list)'"
fi
dpkg -x "$package"_*.deb unpacked
rm -rf "$target/include"
mv unpacked/usr/include/onnxruntime "$target/include"
echo "$target/include"
