#!/usr/bin/env bash
# A Linux guest whose own SMMUv3 driver translates for an NVMe disk of uvfio's host arm-nesting, in QEMU 11 with arm-smmuv3,accel=on.
# Usage: scripts/smmu-guest.sh [FOLDER [--fetch]]     FOLDER keeps what was fetched for the next time; --fetch: nothing else is done
# QEMU wants KVM for that. So uvfio, QEMU and the guest run on an emulated arm64 machine that has the processor's virtualization: every instruction
# is translated, and it takes about ten minutes. Needs Debian's packages qemu-system-arm and cpio. What is run there: scripts/arm64/smmu-init; what
# the guest runs: scripts/arm64/smmu-guest-init.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
folder=$(realpath -m "${1:-$scratch/fetched}")
root=$scratch/root
. scripts/arm64/machine.sh

fetch sid qemu-system-arm:arm64 qemu --with-dependencies
fetch sid qemu-efi-aarch64 firmware
fetch_machine
[ "${2-}" != --fetch ] || exit 0
make_root

# QEMU with its libraries, and what its guest boots from.
guest=$root/guest
mkdir -p "$guest"/usr/{lib,share} "$guest/own"/{bin,dev,proc,sys}
cp -a "$folder/qemu/usr/bin" "$guest/usr/"
cp -a "$folder/qemu/usr/lib/aarch64-linux-gnu" "$guest/usr/lib/"
rm -rf "$guest"/usr/lib/aarch64-linux-gnu/{systemd,dri}
cp -a "$folder/qemu/usr/share/qemu" "$guest/usr/share/"
cp "$folder/firmware/usr/share/qemu-efi-aarch64/QEMU_EFI.fd" "$guest/"
cp "$folder"/kernel/boot/vmlinuz-* "$guest/Image"
cp "$folder/busybox/usr/bin/busybox" "$guest/own/bin/"
for module in nvme-auth nvme-core nvme; do
  xz -dc "$(find "$folder/kernel/" -name "$module.ko.xz")" >"$guest/own/$module.ko"
done
cp scripts/arm64/smmu-guest-init "$guest/own/init"
(cd "$guest/own" && find . | cpio --quiet -o -H newc | gzip -1) >"$guest/initrd.gz"
rm -r "$guest/own"
cp scripts/arm64/smmu-init "$root/init"

boot "${UVFIO_SMMU_MINUTES:-30}" -M virt,virtualization=on,gic-version=3,its=on -m 4G
grep -q '^SMMU: the guest.s disk has what it wrote$' "$scratch/console"
