#!/usr/bin/env bash
# Runs tests as an ordinary user, from a copy of the sources that this user can read and write: what root may do, most users of uvfio may not.
# Usage: scripts/as-ordinary-user.sh [TEST...]      (all when none is given; UVFIO_TEST_USER is another user's number)
set -euo pipefail
cd "$(dirname "$0")/.."

user=${UVFIO_TEST_USER:-65534}
if [ "$(id -u)" -ne 0 ]; then exec npx vitest run "$@"; fi

# not below a home directory, which others may not enter
base=$(mktemp -d /tmp/uvfio-ordinary-XXXXXX)
trap 'rm -rf "$base"' EXIT
copy=$base/uvfio
mkdir "$copy" "$base/tmp"
tar --exclude=./node_modules --exclude=./dist --exclude=./.git -cf - . | tar -C "$copy" -xf -
cp -r node_modules "$copy/node_modules"
chown -R "$user:$user" "$base"
cd "$copy"
# root's PATH may have folders that the user cannot look into, which is another answer to a program that is not there
path="$(dirname "$(command -v node)"):/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
# users of VFIO may lock the memory of a guest, where it can be had
raise=(prlimit --memlock=unlimited:unlimited)
"${raise[@]}" true 2>/dev/null || raise=()
"${raise[@]}" setpriv --reuid "$user" --regid "$user" --clear-groups \
  env PATH="$path" HOME="$base/tmp" TMPDIR="$base/tmp" npx vitest run "$@"
