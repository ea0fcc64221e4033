#!/usr/bin/env bash
# Unpacks Debian's kernel and busybox of some architectures into FOLDER/ARCH, and the QEMUs that run them into FOLDER/qemu; nothing is installed.
# Usage: scripts/guest-kernels.sh FOLDER [amd64|arm64|ppc64el|s390x ...]
# test/programs/nvme-guests.test.ts takes the folder as UVFIO_NVME_GUESTS. The mirror is the one that this machine has in its sources.
set -euo pipefail

if [ $# -lt 1 ]; then
  sed -n 's/^# //; 2,5p' "$0" >&2
  exit 2
fi
mkdir -p "$1"
folder=$(readlink -f "$1")
shift
[ $# -gt 0 ] || set -- amd64 arm64 ppc64el s390x

mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(CREATED_BY)' | sed -n 's, main Packages$,,p' | grep '/debian/*$' | head -n 1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for arch in "$@"; do
  case $arch in
    amd64) flavour=amd64 emulator=qemu-system-x86 ;;
    arm64) flavour=arm64 emulator=qemu-system-arm ;;
    ppc64el) flavour=powerpc64le emulator=qemu-system-ppc ;;
    s390x) flavour=s390x emulator=qemu-system-misc ;;
    *) echo "$0: no architecture $arch: amd64, arm64, ppc64el, s390x" >&2; exit 2 ;;
  esac
  own=$scratch/$arch
  mkdir -p "$own/lists/partial" "$own/cache/archives/partial" "$own/debs" "$folder/$arch"
  touch "$own/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$own/sources.list"
  # an apt of its own, for another architecture
  apt=(
    -q -o "APT::Architecture=$arch" -o "APT::Architectures=$arch" -o "Dir::State=$own" -o "Dir::State::lists=$own/lists"
    -o "Dir::State::status=$own/status" -o "Dir::Cache=$own/cache" -o "Dir::Etc::sourcelist=$own/sources.list"
    -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
    -o APT::Sandbox::User=root
  )
  apt-get "${apt[@]}" update >&2
  # the newest one whose file the mirror still has
  kernels=$(apt-cache "${apt[@]}" search --names-only "^linux-image-[0-9][^ ]*-$flavour(-unsigned)?\$" | sed 's/ .*//' | grep -v 'cloud\|rt-\|16k\|64k' | sort -rV)
  got=
  for kernel in $kernels; do
    if (cd "$own/debs" && apt-get "${apt[@]}" download "$kernel" >&2); then got=$kernel; break; fi
  done
  [ -n "$got" ] || { echo "$0: no kernel for $arch on $mirror" >&2; exit 1; }
  (cd "$own/debs" && apt-get "${apt[@]}" download busybox-static >&2)
  for package in "$own"/debs/*.deb; do dpkg-deb -x "$package" "$folder/$arch"; done
  # the emulator is of this machine's own suite, so that its libraries are here
  if ! dpkg -s "$emulator" >/dev/null 2>&1; then
    mkdir -p "$folder/qemu" "$own/qemu"
    (cd "$own/qemu" && apt-get -q download "$emulator" qemu-system-data >&2)
    for package in "$own"/qemu/*.deb; do dpkg-deb -x "$package" "$folder/qemu"; done
  fi
done
