#!/usr/bin/env bash
# Runs a command with another release of node, from npm: its folder is the first of PATH while the command runs.
# Usage: scripts/with-node.sh RELEASE COMMAND [ARG...]     (RELEASE: 22, 24.21.0, ...)
set -euo pipefail

if [ $# -lt 2 ]; then
  sed -n 's/^# //; 2,3p' "$0" >&2
  exit 2
fi
release=$1
shift
case $(uname -m) in
x86_64) arch=x64 ;;
aarch64) arch=arm64 ;;
*) echo "$0: npm has no node for $(uname -m)" >&2; exit 2 ;;
esac

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
(cd "$folder" && tar -xzf "$(npm pack --silent "node-linux-$arch@$release")")
PATH="$folder/package/bin:$PATH"
echo "node $(node --version)" >&2
"$@"
