#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# unpack_packages.sh FOLDER DEBIAN-SUITE UBUNTU-SUITE PACKAGE...
#
# Downloads packages of a newer release of this distribution from this machine's own mirror and unpacks
# them into FOLDER. Nothing is installed and no root is needed: apt works on a private list and state
# folder, and takes mirror and keyring from the machine.
set -eu

folder=$1 debian_suite=$2 ubuntu_suite=$3
shift 3

fail() {
  echo "unpack_packages.sh: $1" >&2
  exit 1
}

command -v apt-get >/dev/null || fail "there is no apt-get to fetch $* with"
. /etc/os-release
case $ID in
  debian) suite=$debian_suite components=main keyring=debian-archive-keyring.gpg ;;
  ubuntu) suite=$ubuntu_suite components="main universe" keyring=ubuntu-archive-keyring.gpg ;;
  *) fail "the distribution is $ID, expected debian or ubuntu" ;;
esac
mirror=$(apt-get update --print-uris |
  sed -n "s|^'\(.*/\)dists/$VERSION_CODENAME/InRelease'.*|\1|p" | head -n 1)
[ -n "$mirror" ] || fail "apt has no source for $VERSION_CODENAME"
[ -f "/usr/share/keyrings/$keyring" ] || fail "/usr/share/keyrings/$keyring is missing"

mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
line="deb [signed-by=/usr/share/keyrings/$keyring] $mirror $suite $components"
echo "$line" >sources.list
mkdir -p lists/partial archives/partial
: >status
apt() {
  apt-get -q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=- \
    -o "Dir::State::lists=$work/lists" -o "Dir::State::status=$work/status" \
    -o "Dir::Cache=$work" -o APT::Sandbox::User=root "$@" >&2
}
apt update || fail "apt-get update of '$line' failed"
apt download "$@" || fail "not all of $* are in '$line'"
for package in *.deb; do
  dpkg -x "$package" "$folder"
done
