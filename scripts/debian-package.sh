#!/usr/bin/env bash
# Unpacks a package of another Debian suite into a folder, and with --with-dependencies all that it depends on; nothing is installed.
# Usage: scripts/debian-package.sh SUITE PACKAGE[:ARCHITECTURE] FOLDER [--with-dependencies]
# The mirror is the one that this machine has in its sources.
set -euo pipefail

if [ $# -lt 3 ]; then
  sed -n 's/^# //; 2,4p' "$0" >&2
  exit 2
fi
suite=$1 package=$2 folder=$3 dependencies=${4-}

mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(CREATED_BY)' | sed -n 's, main Packages$,,p' | grep '/debian/*$' | head -n 1)
if [ -z "$mirror" ]; then
  echo "$0: no Debian mirror among this machine's package sources" >&2
  exit 2
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$scratch/lists/partial" "$scratch/cache/archives/partial" "$folder"
touch "$scratch/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$scratch/sources.list"
# An apt of its own: it sees that suite alone, and a machine on which nothing is installed.
apt=(
  -q -o "Dir::State=$scratch" -o "Dir::State::lists=$scratch/lists" -o "Dir::State::status=$scratch/status"
  -o "Dir::Cache=$scratch/cache" -o "Dir::Etc::sourcelist=$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null
  -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null -o APT::Sandbox::User=root
)
case $package in *:*)
  apt+=(-o "APT::Architecture=${package#*:}" -o "APT::Architectures=${package#*:}")
  package=${package%:*} ;;
esac
apt-get "${apt[@]}" update >&2
if [ "$dependencies" = --with-dependencies ]; then
  apt-get "${apt[@]}" install -y --download-only --no-install-recommends "$package" >&2
else
  (cd "$scratch/cache/archives" && apt-get "${apt[@]}" download "$package" >&2)
fi
for archive in "$scratch"/cache/archives/*.deb; do dpkg -x "$archive" "$folder"; done
