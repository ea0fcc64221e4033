#!/usr/bin/env bash
# Puts that part of the newest kernel's source into a folder which its selftests of VFIO and iommufd are built from: for uvfio selftests.
# Usage: scripts/kernel-tree.sh FOLDER [SUITE]
# The source is Debian's package linux-source of SUITE, sid unless it is given. Fails when the mirror has it not.
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n 's/^# //; 2,4p' "$0" >&2
  exit 2
fi
folder=$1 suite=${2-sid}

package=$(mktemp -d)
trap 'rm -rf "$package"' EXIT
# the package is empty, and depends on the one of its release
"$(dirname "$0")/debian-package.sh" "$suite" linux-source "$package" --with-dependencies
archive=$(find "$package/usr/src" -name 'linux-source-*.tar.xz' | head -n 1)
if [ -z "$archive" ]; then
  echo "$0: linux-source of $suite has no archive" >&2
  exit 1
fi
root=$(basename "$archive" .tar.xz)
case $(uname -m) in
  x86_64) arch=(arch/x86/Makefile arch/x86/include arch/x86/entry/syscalls) ;;
  aarch64) arch=(arch/arm64/Makefile arch/arm64/include arch/arm64/tools) ;;
  *) echo "$0: the selftests of VFIO are for x86_64 and aarch64" >&2; exit 1 ;;
esac
parts=(
  Makefile Kbuild scripts usr include "${arch[@]}"                   # make headers
  tools/include tools/arch tools/scripts                             # what the tests include
  tools/testing/selftests/{lib.mk,kselftest.h,kselftest_harness.h,iommu,vfio}
  drivers/iommu/iommufd/iommufd_test.h drivers/dma/ioat drivers/dma/idxd
)
mkdir -p "$folder"
tar -xf "$archive" -C "$folder" --strip-components=1 "${parts[@]/#/$root/}"
