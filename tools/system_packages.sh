#!/bin/sh
# Installs the named Debian packages that are missing; says what to do where that is not possible.
set -eu
missing=""
for package in "$@"; do
  dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
  echo "These are needed and not found:$missing. Install them (on Debian: apt-get install$missing), then run this again." >&2
  exit 1
fi
if [ "$(id -u)" -eq 0 ]; then as=""; elif command -v sudo >/dev/null; then as="sudo"; else
  echo "These Debian packages are needed:$missing. As root: apt-get install$missing" >&2
  exit 1
fi
$as apt-get update --quiet --quiet
# shellcheck disable=SC2086 # a list of words on purpose
DEBIAN_FRONTEND=noninteractive $as apt-get install --yes --quiet --no-install-recommends $missing >/dev/null
