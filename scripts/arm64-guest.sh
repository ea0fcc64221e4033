#!/usr/bin/env bash
# Runs uvfio on arm64: an emulated machine (qemu-system-aarch64) with Debian's kernel, node and uvfio's package in it, and nothing else.
# Usage: scripts/arm64-guest.sh [FOLDER]     FOLDER keeps what was fetched for the next time
# Needs Debian's packages qemu-system-arm, gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, linux-libc-dev-arm64-cross and cpio, and some minutes: every
# instruction is translated. (-cpu max has pointer authentication, which is emulated many times slower.) What is run there: scripts/arm64/init.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
folder=$(realpath -m "${1:-$scratch/fetched}")
root=$scratch/root
. scripts/arm64/machine.sh

make_root
cp scripts/arm64/init "$root/init"
cp scripts/arm64/checks.mjs test/recordings/*.br "$root/uvfio"
for client in iova-ranges iommufd-edu early-looks; do
  aarch64-linux-gnu-gcc -O1 -static -o "$root/bin/$client" "test/clients/$client.c" -lpthread
done
boot "${UVFIO_ARM64_MINUTES:-30}" -M virt -m 3G
grep -q '^ARM64: all passed$' "$scratch/console"
