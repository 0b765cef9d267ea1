#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Puts ONNX Runtime's C header (Debian package libonnxruntime-dev) where CMake finds it, and prints the
# folder.
#
# Order: the header that the system has installed; the package of this release; the package of the next
# release (Debian 12 -> 13, Ubuntu 24.04 -> 26.04) from the same mirror. A package is unpacked into
# .cache/onnxruntime, nothing is installed. Only headers are used; ONNX Runtime itself is opened at run
# time.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
target=$root/.cache/onnxruntime
package=libonnxruntime-dev

for folder in /usr/include/onnxruntime "$target/include"; do
  if [ -f "$folder/onnxruntime_c_api.h" ]; then
    echo "$folder"
    exit 0
  fi
done

mkdir -p "$target"
work=$(mktemp -d "$target/unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
if apt-cache policy "$package" 2>/dev/null | grep -q 'Candidate: [0-9]' &&
  (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2); then
  dpkg -x "$work/$package"_*.deb "$work"
elif ! "$root/scripts/unpack_packages.sh" "$work" trixie resolute "$package"; then
  echo "onnxruntime_header.sh: no header; install $package, or configure with" \
    "-DONNXRUNTIME_INCLUDE_DIR=<folder of onnxruntime_c_api.h> or -DDOVETAIL_ONNXRUNTIME=OFF" >&2
  exit 1
fi
rm -rf "$target/include"
mv "$work/usr/include/onnxruntime" "$target/include"
echo "$target/include"
